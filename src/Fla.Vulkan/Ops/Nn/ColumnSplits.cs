namespace Fla.Vulkan.Ops;

/// <summary>How kernels that add up a gradient over tokens spread: invocations have four columns of a stretch of tokens, and leave a partial sum each.</summary>
/// <param name="Count">Stretches.</param>
/// <param name="Chunk">Tokens of a stretch.</param>
internal readonly record struct ColumnSplits(int Count, int Chunk)
{
    private const int Columns = 4;
    private const int LeastTokens = 8;

    /// <summary>Invocations of a workgroup.</summary>
    public const int Workgroup = 64;

    /// <summary>Enough stretches to fill the device.</summary>
    public static ColumnSplits Of(ComputeDevice device, int tokens, int width)
    {
        var groups = Math.Max(1, Pieces(width) / Workgroup);
        var wanted = Math.Clamp(2 * RowLayout.Fill(device) / groups, 1, Math.Max(1, (tokens + LeastTokens - 1) / LeastTokens));
        var chunk = Math.Max(1, (tokens + wanted - 1) / wanted);
        return new((tokens + chunk - 1) / chunk, chunk);
    }

    /// <summary>The grid over stretches of columns.</summary>
    public Grid Grid(int width) => Fla.Vulkan.Grid.Over((long)Count * Pieces(width), Workgroup);

    private static int Pieces(int width) => (width + Columns - 1) / Columns;
}
