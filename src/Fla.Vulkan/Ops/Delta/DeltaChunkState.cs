namespace Fla.Vulkan.Ops;

/// <summary>
/// STATE-Δ: walks the chunks of every sequence with the memory in registers, corrects the chunk's values by what the memory holds, and stores the memory
/// at each chunk (shaders/delta/delta_state.comp). Forward it is the state entering a chunk; in reverse the gradient of the state leaving it.
/// </summary>
internal static class DeltaChunkState
{
    private const int Narrow = 32, Many = 256;

    private static readonly Kernel<Args> Kernel = new("delta/delta_state");

    private readonly record struct Args(In X, In Base, In Y, In Z, In W, In M, In Beta, In Gate, In Initial, Out Final, Out States, Out O, In Packed,
        uint T, uint C, uint H, uint K, uint V, float Scale);

    [Flags]
    internal enum Walk : uint
    {
        Forward = 0,
        Reverse = 1,
        InitialVFirst = 2,
        FinalVFirst = 4,
        HasSecond = 8,
        HasInverse = 16,
        ReadsUndecayed = 32,
        Adds = 64,
        Unit = 128,
    }

    /// <summary>What the walk multiplies: out = base + f (x S), S ← e^{G_C} S + (f' y)ᵀ out + (f'' z)ᵀ w, with the factors of the walk's direction.</summary>
    /// <param name="X">Reads the state [B,T,H,K]: W, or keys in reverse.</param>
    /// <param name="Base">[B,T,H,V]: U, or AᵀdO in reverse.</param>
    /// <param name="Y">Writes to the state [B,T,H,K]: keys, or W in reverse.</param>
    /// <param name="Sign">−1 where W is subtracted (delta rule), 1 where it is added.</param>
    /// <param name="Z">Second writer [B,T,H,K], or null.</param>
    /// <param name="W">What it writes [B,T,H,V].</param>
    /// <param name="Scale">Factor of the second writer.</param>
    /// <param name="Inverse">
    /// M [B,T,H,C]: out = M β (base − e^{Ga} (x S)), x and base a and v; or in reverse out = Mᵀ (base + e^{G_C − G} (x S)), S ← e^{G_C} S − (β e^{Ga} y)ᵀ out + .., x and y k and a.
    /// </param>
    /// <param name="Beta">With <paramref name="Inverse"/> β, fp32 [B,T,H], or null for 1.</param>
    /// <param name="Lengths">With <paramref name="Inverse"/>, no second writer, and x and y the same: what their rows are multiplied by first, fp32 [B,T,H], or null.</param>
    internal readonly record struct Operands(Tensor X, Tensor Base, Tensor Y, float Sign, Tensor? Z = null, Tensor? W = null, float Scale = 1, Tensor? Inverse = null, Tensor? Beta = null,
        Tensor? Lengths = null);

    /// <summary>Runs the walk.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="of">What is multiplied.</param>
    /// <param name="gate">Kind of decay.</param>
    /// <param name="cumulative">Log decay summed inside each chunk.</param>
    /// <param name="walk">Direction, and layout of <paramref name="initial"/> and <paramref name="final"/>.</param>
    /// <param name="initial">State before the walk, fp32, or null.</param>
    /// <param name="final">Where the state after the walk goes, fp32, or null.</param>
    /// <returns>The state at each chunk [chunks,H,K,V] and out [B,T,H,V], in the storage type.</returns>
    public static (Tensor States, Tensor O) Run(LinearShape shape, int chunk, in Operands of, DeltaGate gate, Tensor? cumulative, Walk walk, Tensor? initial, Tensor? final)
    {
        var device = of.X.Device;
        var states = ChunkState.Storage(shape, chunk, device, of.X.DType);
        var o = Tensor.EmptyLike(of.Base);
        if (of.Z is not null) walk |= Walk.HasSecond;
        if (of.Inverse is not null) walk |= Walk.HasInverse;
        if (of.Lengths is not null) walk |= Walk.Unit;
        if (of.Sign > 0) walk |= Walk.Adds;
        var choice = Choice(shape, device, of.X.DType, of.Inverse is not null, of.Z is not null);
        var isWhole = ChunkTiles.AreWhole(shape.K, shape.V, of.X, of.Base, of.Y, of.Z, of.W, of.Inverse, initial, final);
        var isFull = isWhole && shape.K % ChunkTiles.Size == 0 && shape.V % choice.Columns == 0;
        Kernel.Launch(device,
            new(of.X, of.Base, of.Y, of.Z ?? of.Lengths, of.W, of.Inverse, of.Beta, cumulative, initial, final, states, o, shape.Table(chunk),
                (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, (uint)shape.V, of.Scale),
            new((uint)((shape.V + choice.Columns - 1) / choice.Columns), (uint)shape.H, (uint)shape.N), ChunkTiles.Variant(device, of.X.DType),
            TileProduct.Spec(device, of.X.DType, ChunkTiles.Size, choice.Columns, (uint)choice.Workgroup,
                isWhole ? 1u : 0, (uint)choice.Slice, ChunkTiles.Count(shape.K), (uint)gate, (uint)walk, isFull ? 1u : 0, ChunkTiles.AreDense(shape, chunk)));
        return (states, o);
    }

    // With M, where there are few sequences and heads, narrower tiles make more workgroups; more than two tiles of channels want the registers of more invocations, and a walk
    // with two writers that has a multiprocessor to itself their latencies.
    private static TileChoice Choice(LinearShape shape, ComputeDevice device, DType type, bool hasInverse, bool hasSecond)
    {
        var choice = ChunkTiles.Choice(device, hasInverse ? Kernel.Shader + ".inverse" : Kernel.Shader, type);
        if (!hasInverse || device.IsCpu || device.MatrixShape(type) is null || choice.Columns <= Narrow) return choice;
        var groups = shape.N * shape.H * ChunkTiles.Count(shape.V);
        if (groups <= device.Tiles.Fill / 8) return choice with { Columns = Narrow };
        var isAlone = hasSecond && groups <= device.Tiles.Fill / 4;
        return ChunkTiles.Count(shape.K) <= 2 && !isAlone ? choice : choice with { Workgroup = Many };
    }
}
