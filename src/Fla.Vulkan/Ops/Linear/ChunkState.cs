namespace Fla.Vulkan.Ops;

/// <summary>The decays of a chunked call.</summary>
/// <param name="Cumulative">Log decay summed inside each chunk, fp32 [B,T,H], or with <paramref name="IsVector"/> [B,T,H,K]; null is none.</param>
/// <param name="Decay">Constant decay of heads; none with a vector gate.</param>
/// <param name="IsVector">One decay for each row of the state.</param>
/// <param name="IsInRows">The rows that are written to the state have their factors already; only the last token's decay of a chunk is read.</param>
internal readonly record struct ChunkGate(Tensor? Cumulative, HeadDecay Decay, bool IsVector = false, bool IsInRows = false);

/// <summary>
/// STATE+: walks the chunks of every sequence with the memory in registers and stores it at each chunk (shaders/linear/chunk_state.comp).
/// Forward it is the state entering a chunk, from k and v; in reverse the gradient of the state leaving it, from q and do.
/// </summary>
internal static class ChunkState
{
    private static readonly Kernel<Args> Kernel = new("linear/chunk_state");
    private static readonly Kernel<DotArgs> DotKernel = new("linear/state_dot");

    private readonly record struct Args(In A, In B, In A2, In B2, In Gate, In Gamma, In Initial, Out Final, Out States, In Packed,
        uint N, uint T, uint C, uint H, uint K, uint V, float Scale, float DecayKind);

    private readonly record struct DotArgs(In States, In Gradients, In Final, Out Y, In Packed,
        uint N, uint T, uint C, uint H, uint Rows, uint Width, uint Results);

    [Flags]
    internal enum Walk : uint
    {
        Forward = 0,
        Reverse = 1,
        InitialVFirst = 2,
        StatesFloat32 = 4,
        FinalVFirst = 8,
        NoGate = 16,
        IsGated = 32,
        HasSecond = 64,
    }

    /// <param name="shape">Sizes: a has K channels, b has V.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="a">Rows of the state: k, or q in reverse.</param>
    /// <param name="b">Columns of the state: v, or do in reverse.</param>
    /// <param name="gate">Decays.</param>
    /// <param name="states">Where the state at each chunk goes [chunks,H,K,V], in a's type or fp32.</param>
    /// <param name="walk">Direction, and layout of <paramref name="initial"/> and <paramref name="final"/>.</param>
    /// <param name="initial">State before the walk, or null.</param>
    /// <param name="final">Where the state after the walk goes, or null.</param>
    /// <param name="scale">Factor of a, unless the gate is in its rows.</param>
    /// <param name="a2">Rows that are added likewise where the gate is in them, or null.</param>
    /// <param name="b2">And their columns.</param>
    public static void Run(LinearShape shape, int chunk, Tensor a, Tensor b, in ChunkGate gate, Tensor states, Walk walk, Tensor? initial, Tensor? final, float scale,
        Tensor? a2 = null, Tensor? b2 = null)
    {
        if (states.DType == DType.Float32) walk |= Walk.StatesFloat32;
        if (gate.Cumulative is null) walk |= Walk.NoGate;
        if (gate.IsInRows) walk |= Walk.IsGated;
        if (a2 is not null) walk |= Walk.HasSecond;
        var device = a.Device;
        var isWhole = ChunkTiles.AreWhole(shape.K, shape.V, a, b, a2, b2, gate.Cumulative, initial, final);
        Kernel.Launch(device,
            new(a, b, a2, b2, gate.Cumulative, gate.Decay.Gamma, initial, final, states, shape.Table(chunk),
                (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, (uint)shape.V, scale, gate.Decay.Kind),
            new(ChunkTiles.Count(shape.V) * ChunkTiles.Count(shape.K), (uint)shape.H, (uint)shape.N), ChunkTiles.Variant(device, a.DType),
            ChunkTiles.Spec(device, Kernel.Shader, a.DType, isWhole, gate.IsVector ? 1u : 0, (uint)walk, ChunkTiles.AreFull(isWhole, shape.K, shape.V)));
    }

    /// <summary>Storage for the state at each chunk.</summary>
    public static Tensor Storage(LinearShape shape, int chunk, ComputeDevice device, DType type) =>
        Tensor.Empty(device, type, shape.Chunks(chunk), shape.H, shape.K, shape.V);

    /// <summary>
    /// Σ of the state leaving each chunk times its gradient (both of one type), over <paramref name="width"/> elements for each of <paramref name="rows"/>: fp32 [chunks,H,rows].
    /// </summary>
    public static Tensor Dot(LinearShape shape, int chunk, Tensor states, Tensor gradients, Tensor final, int rows, int width)
    {
        var y = Tensor.Empty(states.Device, DType.Float32, shape.Chunks(chunk), shape.H, rows);
        var isAligned = width % 4 == 0 && (states.Address | gradients.Address | final.Address) % 16 == 0;
        DotKernel.Launch(states.Device,
            new(states, gradients, final, y, shape.Table(chunk), (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)rows, (uint)width, (uint)y.Count),
            Grid.Over(y.Count, 32), states.DType.Variant(), 256, isAligned ? 1u : 0);
        return y;
    }
}
