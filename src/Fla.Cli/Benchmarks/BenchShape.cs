using System.Globalization;
using Fla.Vulkan;

namespace Fla.Cli.Benchmarks;

/// <summary>Size of a benchmark, in fla's terms.</summary>
/// <param name="B">Batch.</param>
/// <param name="T">Tokens of a sequence.</param>
/// <param name="H">Heads.</param>
/// <param name="D">Channels of a head.</param>
internal readonly record struct BenchShape(int B, int T, int H, int D)
{
    /// <summary>The shapes of fla's own runner.</summary>
    public static readonly BenchShape[] Defaults =
        [new(1, 8192, 96, 128), new(2, 16384, 16, 128), new(4, 2048, 16, 128), new(4, 4096, 64, 128), new(8, 2048, 32, 256), new(8, 1024, 8, 64)];

    /// <summary>What a CPU driver does in seconds.</summary>
    public static readonly BenchShape[] SmallDefaults = [new(1, 256, 2, 64), new(1, 512, 2, 64)];

    /// <summary>Tokens of all sequences.</summary>
    public long Tokens => (long)B * T;

    /// <summary>Elements of a tensor [B,T,H,D].</summary>
    public long Elements => Tokens * H * D;

    /// <summary>Reads "B,T,H,D".</summary>
    /// <exception cref="FlaException">Something else.</exception>
    public static BenchShape Parse(string text)
    {
        var parts = text.Split(',');
        var sizes = new int[4];
        for (var i = 0; i < 4; i++)
        {
            if (parts.Length != 4 || !int.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out sizes[i]) || sizes[i] == 0)
            {
                throw new FlaException($"a shape is B,T,H,D such as 4,2048,16,128, not '{text}'");
            }
        }
        return new(sizes[0], sizes[1], sizes[2], sizes[3]);
    }

    public override string ToString() => $"B{B} T{T} H{H} D{D}";
}
