using Fla.Bench;
using Fla.Vulkan;

// Fla.Bench ops [NAME...] [--dtype bf16] [--shape B,T,H,D]... [--profile]      operators on the GPU, checked, then timed
// Fla.Bench gemm [--dtype f16] [--shape M,N,K]...
const string Usage = """
    usage: Fla.Bench ops [NAME...] [--dtype f32|f16|bf16] [--shape B,T,H,D]... [--profile]
           Fla.Bench gemm [--dtype f32|f16|bf16] [--shape M,N,K]...
    """;

using var device = ComputeDevice.Create();
switch (args.FirstOrDefault())
{
    case "ops": return OpBench.Run(device, args[1..]);
    case "gemm": return GemmBench.Run(device, args[1..]);
    default:
        Console.Error.WriteLine(Usage);
        return 2;
}
