namespace Fla.Vulkan.Ops;

/// <summary>
/// STATE+ and OUT forward under decays of heads, where all chunks and tiles are whole, on devices whose matrices' components lie alike in accumulators and operands: the states go from
/// the one to the other in the order in which registers hold them (shaders/linear/chunk_state_fragments.comp, chunk_out_fragments.comp).
/// </summary>
internal static class ChunkFragments
{
    private static readonly Kernel<StateArgs> StateKernel = new("linear/chunk_state_fragments");
    private static readonly Kernel<OutArgs> OutKernel = new("linear/chunk_out_fragments");

    private readonly record struct StateArgs(In A, In B, In Gate, In Gamma, In Initial, Out Final, Out States, uint N, uint T, uint First, uint Count, uint H, float DecayKind);

    private readonly record struct OutArgs(In A, In B, In C, In Gate, In Gamma, In States, Out O, uint T, uint First, uint Count, uint H, float Inter, float Intra, float DecayKind);

    private const int Columns = 2 * ChunkTiles.Size, MostSlices = 4;

    private const int FewestChunksOfPart = 32;

    /// <summary>
    /// Whether these kernels serve a call: heads of 128 or 256 channels, of which they were measured to be faster (bench/NOTES.md), and offsets of a sequence that fit 32 bits.
    /// </summary>
    public static bool Serve(LinearShape shape, int chunk, Tensor q, Tensor k, Tensor v, Tensor? gate, Tensor? initial)
    {
        var device = q.Device;
        return IsServed(shape.K) && IsServed(shape.V) && shape.T % (2 * ChunkTiles.Size) == 0 && ChunkTiles.AreDense(shape, chunk) != 0
            && 4L * shape.T * shape.H <= uint.MaxValue && 2L * shape.H * shape.K * shape.V <= uint.MaxValue
            && ChunkTiles.AreWhole(shape.K, shape.V, q, k, v, gate, initial)
            && ChunkTiles.HaveFragments(device, q.DType);
    }

    private static bool IsServed(int width) => width % Columns == 0 && width <= MostSlices * ChunkTiles.Size;

    /// <summary>The output, and the state that leaves the last chunk in <paramref name="final"/>.</summary>
    public static Tensor Run(LinearShape shape, Tensor q, Tensor k, Tensor v, in ChunkGate gate, ChunkState.Walk walk, Tensor? initial, Tensor? final, float scale)
    {
        var device = q.Device;
        var o = Tensor.EmptyLike(v);
        var chunks = shape.T / ChunkTiles.Size;
        // One workgroup of the walk on a processor leaves much of it idle: then the second half of the chunks is walked over beside the outputs of the first.
        var walks = (long)ChunkTiles.Count(shape.K) * ChunkTiles.Count(shape.V) * shape.H * shape.N;
        var areFew = 2 * walks <= device.Tiles.Fill;
        var parts = 4 * walks <= device.Tiles.Fill && chunks % 4 == 0 && chunks >= 2 * FewestChunksOfPart ? 2 : 1;
        chunks /= parts;
        Tensor? states = null;
        for (var part = 0; part < parts; part++)
        {
            var next = Tensor.Empty(device, k.DType, shape.N * chunks, shape.H, shape.K, shape.V);
            var leaving = part + 1 == parts ? final : Tensor.Empty(device, DType.Float32, shape.State((walk & ChunkState.Walk.FinalVFirst) != 0));
            Walk(shape, part * chunks, chunks, k, v, gate, walk, initial, leaving, next, areFew);
            if (states is not null) Read(shape, (part - 1) * chunks, chunks, q, k, v, gate, states, o, scale);
            (states, initial) = (next, leaving);
        }
        Read(shape, (parts - 1) * chunks, chunks, q, k, v, gate, states!, o, scale);
        return o;
    }

    /// <summary>The states entering chunks.</summary>
    private static void Walk(LinearShape shape, int first, int count, Tensor k, Tensor v, in ChunkGate gate, ChunkState.Walk walk, Tensor? initial, Tensor? final, Tensor states, bool areFew)
    {
        var device = k.Device;
        if (gate.Cumulative is null) walk |= ChunkState.Walk.NoGate;
        StateKernel.Launch(device,
            new(k, v, gate.Cumulative, gate.Decay.Gamma, initial, final, states, (uint)shape.N, (uint)shape.T, (uint)first, (uint)count, (uint)shape.H, gate.Decay.Kind),
            new(ChunkTiles.Count(shape.V) * ChunkTiles.Count(shape.K), (uint)shape.H, (uint)shape.N), ChunkTiles.Variant(device, k.DType),
            TileProduct.Spec(device, k.DType, ChunkTiles.Size, ChunkTiles.Size, 256, (uint)walk, areFew ? 1u : 2u, (uint)shape.K, (uint)shape.V, initial is null ? 0u : 1u, final is null ? 0u : 1u));
    }

    /// <summary>The output of chunks.</summary>
    private static void Read(LinearShape shape, int first, int count, Tensor q, Tensor k, Tensor v, in ChunkGate gate, Tensor states, Tensor o, float scale)
    {
        var device = q.Device;
        var groups = shape.N * (long)count * shape.V / Columns;
        Require.That(groups <= device.Limits.WorkgroupsX, $"{shape.T} tokens are too many for one call on {device.Name}");
        var workgroup = (uint)(ChunkTiles.Size / device.MatrixShape(q.DType)!.Value.M * device.SubgroupSize);
        OutKernel.Launch(device,
            new(q, k, v, gate.Cumulative, gate.Decay.Gamma, states, o, (uint)shape.T, (uint)first, (uint)count, (uint)shape.H, scale, scale, gate.Decay.Kind),
            new((uint)groups, (uint)shape.H), ChunkTiles.Variant(device, q.DType),
            TileProduct.Spec(device, q.DType, ChunkTiles.Size, ChunkTiles.Size, workgroup, Columns / ChunkTiles.Size, ChunkTiles.Count(shape.K), gate.Cumulative is null ? 0u : 1u, (uint)shape.V));
    }
}
