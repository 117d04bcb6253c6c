using System.Globalization;
using Fla.Vulkan;
using Fla.Vulkan.Ops;
using Spectre.Console;

namespace Fla.Cli.Benchmarks;

/// <summary><c>fla bench --roof</c>: rates of the device, and of the steps that tile kernels are made of (shaders/bench/tile_verbs.comp).</summary>
internal static class BenchVerbs
{
    private const int Tile = 64;
    private const int Windows = 64;
    private const uint Workgroup = 256;
    private const int Chain = 256;
    private const int ChainElements = 1024;

    private static readonly Kernel<Args> Kernel = new("bench/tile_verbs");

    private readonly record struct Args(In X, Out Y, uint Windows, uint Rounds);

    private enum Verb : uint
    {
        Product,
        Put,
        Visit,
        Stage,
    }

    /// <summary>Measures and writes them.</summary>
    public static int Write(Terminal terminal, ComputeDevice device, DType type, CancellationToken cancel)
    {
        var roofs = BenchRoofs.Measure(device, type);
        var machine = roofs.Describe(device, type);
        var table = Terminal.Table($"{machine.Device}, {machine.Driver}, Vulkan {machine.Vulkan}, {machine.System}", "What", "Rate", "", "Tiles of 64 x 64 a microsecond");
        void Row(string what, double rate, string unit, double tiles = 0) => table.AddRow(Markup.Escape(what), rate.ToString("0.00", CultureInfo.InvariantCulture), unit,
            tiles == 0 ? "" : tiles.ToString("0.00", CultureInfo.InvariantCulture));
        Row("copy by a kernel, read and written", machine.CopyGBs, "GB/s");
        Row($"matrix product, {type.ShortName()}", machine.ProductTflops, "TFLOP/s");
        Row("small dispatch that waits for the one before", Dispatch(device, isChain: true), "us");
        Row("small dispatch that waits for none", Dispatch(device, isChain: false), "us");
        foreach (var verb in Enum.GetValues<Verb>())
        {
            cancel.ThrowIfCancellationRequested();
            var (tiles, columns) = Measure(device, type, verb);
            switch (verb)
            {
                case Verb.Product: Row("product of tiles in shared memory", tiles * 2 * Tile * Tile * columns / 1e12, "TFLOP/s", tiles / 1e6); break;
                case Verb.Put: Row("accumulator to a tile in shared memory", tiles * Tile * Tile * type.Size() / 1e9, "GB/s", tiles / 1e6); break;
                case Verb.Visit: Row("visit of an accumulator's elements", tiles * Tile * Tile / 1e9, "10^9/s", tiles / 1e6); break;
                default: Row("tile from the cache to shared memory", tiles * Tile * columns * type.Size() / 1e9, "GB/s", tiles / 1e6); break;
            }
        }
        terminal.Out.Write(table);
        return 0;
    }

    /// <summary>Microseconds of one of many dispatches of a few workgroups.</summary>
    private static double Dispatch(ComputeDevice device, bool isChain)
    {
        using var scope = device.Scope();
        var x = RandomTensors.Normal(device, DType.Float32, 1, 0, [ChainElements]);
        return 1e3 / Chain * BenchTimer.Run(device, () =>
        {
            var sum = x;
            for (var i = 0; i < Chain; i++)
            {
                var next = Elementwise.Add(sum, x);
                if (isChain) sum = next;
            }
        }).Median;
    }

    private static (double TilesPerSecond, int Columns) Measure(ComputeDevice device, DType type, Verb verb)
    {
        using var scope = device.Scope();
        var isMatrix = device.MatrixShape(type) is not null;
        var groups = device.IsCpu ? 4 : 2048;
        var rounds = device.IsCpu ? 16u : 256u;
        var x = RandomTensors.Normal(device, type, 1, 0, [Tile, Tile * Windows]);
        var y = Tensor.Empty(device, type, groups, Tile, Tile);
        var fragment = device.MatrixShape(type) ?? new(16, 16, 16);
        var workgroup = device.IsCpu && !isMatrix ? 64u : Workgroup;
        uint[] spec = [workgroup, (uint)device.Limits.SubgroupSize, Tile, Tile, (uint)fragment.M, (uint)fragment.N, (uint)fragment.K, device.IsCpu ? 1u : 0u, (uint)verb];
        var variant = $"T={type.ShortName()},MM={(isMatrix ? "coopmat" : "plain")}";
        var time = BenchTimer.Run(device, () => Kernel.Launch(device, new(x, y, Windows, rounds), new((uint)groups), variant, spec));
        return (groups * (double)rounds / time.Median * 1000, isMatrix ? 64 : 32);
    }
}
