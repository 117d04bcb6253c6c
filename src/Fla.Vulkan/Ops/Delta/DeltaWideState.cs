namespace Fla.Vulkan.Ops;

/// <summary>
/// STATE-Δ forward under a decay of heads or none over heads of many channels, where what is erased is the key and all chunks and tiles are whole, on devices whose matrices' components lie
/// alike in accumulators and operands (shaders/delta/delta_state_wide.comp).
/// </summary>
internal static class DeltaWideState
{
    private static readonly Kernel<Args> Kernel = new("delta/delta_state_wide");

    private readonly record struct Args(In Keys, In V, In M, In Beta, In Gate, In Initial, Out Final, Out States, Out O, uint T, uint H, uint K, uint Width);

    [Flags]
    private enum Walk : uint
    {
        Forward = 0,
        InitialVFirst = 2,
        FinalVFirst = 4,
        IsGated = 8,
    }

    private const int Keys = 256, Columns = 128, SharedMemory = 48 << 10;

    /// <summary>
    /// Whether this kernel serves a call: heads of 256 channels, whose keys it reads once for 128 columns of the state, unless so few walk that narrower tiles are faster (bench/NOTES.md);
    /// half as many channels on a CPU, whose shared memory is smaller.
    /// </summary>
    public static bool Serve(LinearShape shape, int chunk, DeltaOperands of, Tensor q, Tensor? initial)
    {
        var device = q.Device;
        var groups = (long)shape.N * shape.H * (shape.V / Columns);
        var fits = device.IsCpu ? shape.K == Keys / 2 : shape.K == Keys && device.Limits.SharedMemory >= SharedMemory && groups > device.Tiles.Fill / 16;
        return fits && shape.V % Columns == 0
            && ReferenceEquals(of.A, of.K) && !of.ReadsUndecayed && of.Gate != DeltaGate.Channels && ChunkTiles.AreDense(shape, chunk) != 0
            && ChunkTiles.AreWhole(shape.K, shape.V, q, of.K, of.V, of.Cumulative, initial)
            && ChunkTiles.HaveFragments(device, q.DType);
    }

    /// <summary>Runs the walk.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="of">Operands: a is k.</param>
    /// <param name="inverse">M [B,T,H,C].</param>
    /// <param name="vFirst">The initial and the final state are [N,H,V,K].</param>
    /// <param name="initial">State before the walk, fp32, or null.</param>
    /// <param name="final">Where the state after the walk goes, fp32, or null.</param>
    /// <returns>The states entering the chunks [chunks,H,K,V] and V~ [B,T,H,V].</returns>
    public static (Tensor States, Tensor Values) Run(LinearShape shape, DeltaOperands of, Tensor inverse, bool vFirst, Tensor? initial, Tensor? final)
    {
        var device = of.K.Device;
        var states = ChunkState.Storage(shape, ChunkTiles.Size, device, of.K.DType);
        var values = Tensor.EmptyLike(of.V);
        var fragment = device.MatrixShape(of.K.DType)!.Value;
        var walk = vFirst ? Walk.InitialVFirst | Walk.FinalVFirst : Walk.Forward;
        if (of.Cumulative is not null) walk |= Walk.IsGated;
        Kernel.Launch(device,
            new(of.K, of.V, inverse, of.Beta, of.Cumulative, initial, final, states, values, (uint)shape.T, (uint)shape.H, (uint)shape.K, (uint)shape.V),
            new((uint)(shape.V / Columns), (uint)shape.H, (uint)shape.N), ChunkTiles.Variant(device, of.K.DType),
            TileProduct.Spec(device, of.K.DType, ChunkTiles.Size, ChunkTiles.Size, (uint)(Columns / fragment.M * device.SubgroupSize), ChunkTiles.Count(shape.K), (uint)walk));
        return (states, values);
    }
}
