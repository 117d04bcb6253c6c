using BenchmarkDotNet.Running;
using Fla.Bench;

// dotnet run -c Release --project bench/Fla.Bench -- --filter '*'     the host's side; `fla bench` times the device's
BenchmarkSwitcher.FromAssembly(typeof(HostBench).Assembly).Run(args);
