namespace Fla.Vulkan.Ops;

/// <summary>
/// STATE+ and OUT forward under decays of heads, where all chunks and tiles are whole, on devices whose matrices' components lie alike in accumulators and operands: the states go from
/// the one to the other in the order in which registers hold them (shaders/linear/chunk_state_fragments.comp, chunk_out_fragments.comp).
/// </summary>
internal static class ChunkFragments
{
    private static readonly Kernel<StateArgs> StateKernel = new("linear/chunk_state_fragments");
    private static readonly Kernel<OutArgs> OutKernel = new("linear/chunk_out_fragments");

    private readonly record struct StateArgs(In A, In B, In Gate, In Gamma, In Initial, Out Final, Out States, uint N, uint T, uint H, uint K, uint V, float DecayKind);

    private readonly record struct OutArgs(In A, In B, In C, In Gate, In Gamma, In States, Out O, uint H, uint P, uint Q, float Inter, float Intra, float DecayKind);

    private const int Width = 128;

    /// <summary>
    /// Whether these kernels serve a call: where they were measured to be faster (bench/NOTES.md), which is few walks over heads of 128 channels. They wait for memory more than they move, and
    /// here wait less; with more than one of their workgroups on a processor the kernels for states in rows are as fast or faster.
    /// </summary>
    public static bool Serve(LinearShape shape, int chunk, Tensor q, Tensor k, Tensor v, Tensor? gate, Tensor? initial)
    {
        var device = q.Device;
        return shape.K == Width && shape.V == Width && shape.T % (2 * ChunkTiles.Size) == 0 && ChunkTiles.AreDense(shape, chunk) != 0
            && 4L * ChunkTiles.Count(Width) * ChunkTiles.Count(Width) * shape.H * shape.N <= device.Tiles.Fill
            && ChunkTiles.AreWhole(shape.K, shape.V, q, k, v, gate, initial)
            && device.HasMatrixChain(q.DType) && device.MatrixShape(q.DType) is { } fragment && fragment.M * fragment.N == 8 * device.SubgroupSize;
    }

    /// <summary>The states entering the chunks.</summary>
    public static Tensor States(LinearShape shape, Tensor k, Tensor v, in ChunkGate gate, ChunkState.Walk walk, Tensor? initial, Tensor? final)
    {
        var device = k.Device;
        var states = ChunkState.Storage(shape, ChunkTiles.Size, device, k.DType);
        if (gate.Cumulative is null) walk |= ChunkState.Walk.NoGate;
        StateKernel.Launch(device,
            new(k, v, gate.Cumulative, gate.Decay.Gamma, initial, final, states, (uint)shape.N, (uint)shape.T, (uint)shape.H, (uint)shape.K, (uint)shape.V, gate.Decay.Kind),
            new(ChunkTiles.Count(shape.V) * ChunkTiles.Count(shape.K), (uint)shape.H, (uint)shape.N), ChunkTiles.Variant(device, k.DType),
            TileProduct.Spec(device, k.DType, ChunkTiles.Size, ChunkTiles.Size, 256, (uint)walk));
        return states;
    }

    /// <summary>The output.</summary>
    public static Tensor Out(LinearShape shape, Tensor q, Tensor k, Tensor v, in ChunkGate gate, Tensor states, float scale)
    {
        var device = q.Device;
        var o = Tensor.EmptyLike(v);
        const int tiles = Width / ChunkTiles.Size;
        var groups = shape.Chunks(ChunkTiles.Size) * (long)ChunkTiles.Count(shape.V) / tiles;
        Require.That(groups <= device.Limits.WorkgroupsX, $"{shape.T} tokens are too many for one call on {device.Name}");
        var workgroup = (uint)(ChunkTiles.Size / device.MatrixShape(q.DType)!.Value.M * device.SubgroupSize);
        OutKernel.Launch(device,
            new(q, k, v, gate.Cumulative, gate.Decay.Gamma, states, o, (uint)shape.H, (uint)shape.K, (uint)shape.V, scale, scale, gate.Decay.Kind),
            new((uint)groups, (uint)shape.H), ChunkTiles.Variant(device, q.DType),
            TileProduct.Spec(device, q.DType, ChunkTiles.Size, ChunkTiles.Size, workgroup, tiles, ChunkTiles.Count(shape.K)));
        return o;
    }
}
