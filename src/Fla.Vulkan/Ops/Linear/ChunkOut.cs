namespace Fla.Vulkan.Ops;

/// <summary>
/// OUT: what the tokens of every chunk read from the state and from each other (shaders/linear/chunk_out.comp). One formula serves o, dq, dk and dv:
/// the arguments change places, and for dk and dv the direction.
/// </summary>
internal static class ChunkOut
{
    private static readonly Kernel<Args> Kernel = new("linear/chunk_out");

    private readonly record struct Args(In A, In B, In C, In Gate, In Gamma, In States, In Scores, In E, Out Dots, Out O, In Packed,
        uint N, uint T, uint Chunk, uint H, uint P, uint Q, float Inter, float Intra, float DecayKind);

    private enum Mode : uint
    {
        HeadGate,
        GatedRows,
    }

    [Flags]
    internal enum Read : uint
    {
        Forward = 0,
        Reverse = 1,
        StateTransposed = 2,
        NoState = 4,
        TwoProducts = 8,
        Dots = 16,
        IsGated = 32,
        Unit = 64,
    }

    /// <summary>Decay of heads: out_i = inter f_i (a_i S) + Σ_j intra (a_i·b_j) e^{-|G_i − G_j|} c_j.</summary>
    /// <param name="shape">Sizes: a and b have K channels, c and the output V.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="a">What reads.</param>
    /// <param name="b">What is compared with a.</param>
    /// <param name="c">What is read.</param>
    /// <param name="gate">Decays.</param>
    /// <param name="states">State at each chunk; null for none.</param>
    /// <param name="read">Direction and layout of the states.</param>
    /// <param name="inter">Factor of what the state gives.</param>
    /// <param name="intra">Factor of what the chunk's tokens give.</param>
    /// <param name="e">Where dots are wanted: the tensor that the output's rows are multiplied with.</param>
    /// <param name="dots">fp32 [<see cref="Groups"/>,B,T,H]: parts of e·out.</param>
    /// <param name="lengths">fp32 [B,T,H]: what rows of a and b are multiplied by first, where no dots are wanted.</param>
    /// <returns>The output in a's type.</returns>
    public static Tensor HeadGated(LinearShape shape, int chunk, Tensor a, Tensor b, Tensor c, in ChunkGate gate, Tensor? states, Read read, float inter, float intra,
        Tensor? e = null, Tensor? dots = null, (Tensor A, Tensor B)? lengths = null)
    {
        var o = Tensor.EmptyLike(c);
        if (lengths is not null) read |= Read.Unit;
        Launch(shape, chunk, Mode.HeadGate, a, b, c, gate.Cumulative, gate.Decay.Gamma, gate.Decay.Kind, states, lengths?.A, lengths?.B ?? e, dots, o, read, inter, intra);
        return o;
    }

    /// <summary>
    /// Decay of a's channels, with the products within the chunk given: out_i = inter (f_i ⊙ a_i) S + Σ_j A_ij c_j; in reverse A_ji. The first term is left
    /// out without states; a has its factors already without a gate; with <paramref name="c2"/> and <paramref name="scores2"/> another like the second is added.
    /// </summary>
    public static Tensor GatedRows(LinearShape shape, int chunk, Tensor a, Tensor c, Tensor? gate, Tensor? states, Tensor scores, Read read, float inter,
        Tensor? c2 = null, Tensor? scores2 = null)
    {
        var o = Tensor.EmptyLike(c);
        Launch(shape, chunk, Mode.GatedRows, a, c2, c, gate, scores2, 0, states, scores, null, null, o, read, inter, 1);
        return o;
    }

    /// <summary>Workgroups that share the channels of a chunk's output.</summary>
    public static int Groups(ComputeDevice device, DType type, int channels)
    {
        var tiles = Tiles(device, type, channels);
        return (int)((ChunkTiles.Count(channels) + tiles - 1) / tiles);
    }

    private static uint Tiles(ComputeDevice device, DType type, int channels)
    {
        var tiles = (uint)ChunkTiles.Choice(device, Kernel.Shader, type).Columns / ChunkTiles.Size;
        while (ChunkTiles.Count(channels) % tiles != 0) tiles--;
        return tiles;
    }

    private static void Launch(LinearShape shape, int chunk, Mode mode, Tensor a, Tensor? b, Tensor c, Tensor? gate, Tensor? gamma, float decayKind, Tensor? states,
        Tensor? scores, Tensor? e, Tensor? dots, Tensor o, Read read, float inter, float intra)
    {
        if (states is null) read |= Read.NoState;
        if (dots is not null) read |= Read.Dots;
        if (mode == Mode.GatedRows && b is not null) read |= Read.TwoProducts;
        if (mode == Mode.GatedRows && gate is null) read |= Read.IsGated;
        var device = a.Device;
        var tiles = Tiles(device, a.DType, shape.V);
        var groups = shape.Chunks(chunk) * (long)Groups(device, a.DType, shape.V);
        Require.That(groups <= device.Limits.WorkgroupsX, $"{shape.T} tokens are too many for one call on {device.Name}");
        var type = a.DType;
        var choice = ChunkTiles.Choice(device, Kernel.Shader, type);
        int slice = choice.Slice, workgroup = choice.Workgroup;
        while (slice > ChunkTiles.Size && shape.K % slice != 0) slice /= 2;
        if (!device.IsCpu && device.MatrixShape(type) is { } fragment) workgroup = Math.Min(workgroup, ChunkTiles.Size / fragment.M * device.SubgroupSize);     // whole rows a subgroup
        var isWhole = ChunkTiles.AreWhole(shape.K, shape.V, a, b, c, gate, e, o);
        var isFull = isWhole && shape.K % Math.Max(slice, ChunkTiles.Size) == 0 && shape.V % ChunkTiles.Size == 0;
        Kernel.Launch(device,
            new(a, b, c, gate, gamma, states, scores, e, dots, o, shape.Table(chunk),
                (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, (uint)shape.V, inter, intra, decayKind),
            new((uint)groups, (uint)shape.H), ChunkTiles.Variant(device, type),
            TileProduct.Spec(device, type, ChunkTiles.Size, ChunkTiles.Size, (uint)workgroup, isWhole ? 1u : 0, (uint)slice, (uint)mode, (uint)read, tiles,
                (uint)((shape.K + slice - 1) / slice), isFull ? 1u : 0, ChunkTiles.AreDense(shape, chunk), device.HasMatrixChain(type) ? 1u : 0));
    }
}
