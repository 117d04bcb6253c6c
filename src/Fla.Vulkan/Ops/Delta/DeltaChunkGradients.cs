namespace Fla.Vulkan.Ops;

/// <summary>All gradients of a chunk's rows under a decay of heads or none: in one launch (shaders/delta/gradients.comp), or in three.</summary>
/// <param name="DQ">In q's type.</param>
/// <param name="DA">Null when a is k.</param>
/// <param name="DK">That of k, and of a when it is k.</param>
/// <param name="DV">In q's type.</param>
/// <param name="DBeta">fp32, or null.</param>
/// <param name="DG">That of the log decay, fp32, or null.</param>
internal readonly record struct DeltaChunkGradients(Tensor DQ, Tensor? DA, Tensor DK, Tensor DV, Tensor? DBeta, Tensor? DG)
{
    private static readonly Kernel<Args> Kernel = new("delta/gradients");

    private readonly record struct Args(In X, In Values, In V, In DO, In Q, In A, In K, In States, In StateGradients, In Beta, In Gate,
        Out DQ, Out DA, Out DK, Out DV, Out DBeta, Out DG, Out Leaving, In Packed, uint N, uint T, uint C, uint H, uint KeyWidth, uint ValueWidth, float Scale);

    /// <summary>Whether there is one launch: over cooperative matrices.</summary>
    public static bool IsOne(Tensor q) => q.Device.MatrixShape(q.DType) is not null;

    /// <summary>Runs it.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="chunk">Tokens of a chunk.</param>
    /// <param name="of">Operands of the forward.</param>
    /// <param name="q">Queries.</param>
    /// <param name="dO">Gradient of the output.</param>
    /// <param name="values">Corrected values [B,T,H,V].</param>
    /// <param name="x">Mᵀ times their gradient.</param>
    /// <param name="states">State entering each chunk.</param>
    /// <param name="gradients">Gradient of the state leaving each chunk.</param>
    /// <param name="scale">Factor of q.</param>
    /// <param name="needsG">Whether the decay's gradient is wanted.</param>
    /// <param name="final">For that in three launches: the state after each sequence, fp32.</param>
    public static DeltaChunkGradients Run(LinearShape shape, int chunk, DeltaOperands of, Tensor q, Tensor dO, Tensor values, Tensor x,
        Tensor states, Tensor gradients, float scale, bool needsG, Tensor? final)
    {
        var device = q.Device;
        if (!IsOne(q)) return Passes(shape, chunk, of, q, dO, values, x, states, gradients, scale, needsG ? final : null);
        var fragment = device.MatrixShape(q.DType)!.Value;
        var isSame = ReferenceEquals(of.A, of.K);
        Tensor dq = Tensor.EmptyLike(q), dk = Tensor.EmptyLike(of.K), dv = Tensor.EmptyLike(of.V);
        var da = isSame ? null : Tensor.EmptyLike(of.A);
        var dBeta = of.Beta is null ? null : Tensor.EmptyLike(of.Beta);
        // What every token gives to the gradient of the summed decay, and what the state that leaves its chunk gives to all of its tokens'.
        using var gives = needsG ? Tensor.EmptyLike(of.Cumulative!) : null;
        using var leaving = needsG ? Tensor.Empty(device, DType.Float32, shape.Chunks(chunk), shape.H) : null;
        var isWhole = ChunkTiles.AreWhole(shape.K, shape.V, q, of.A, of.K, of.V, dO, values, x, states, gradients);
        var workgroup = device.IsCpu ? 256 : ChunkTiles.Size / fragment.M * device.SubgroupSize;       // whole rows a subgroup
        Kernel.Launch(device,
            new(x, values, of.V, dO, q, of.A, of.K, states, gradients, of.Beta, of.Cumulative, dq, da, dk, dv, dBeta, gives, leaving, shape.Table(chunk),
                (uint)shape.N, (uint)shape.T, (uint)chunk, (uint)shape.H, (uint)shape.K, (uint)shape.V, scale),
            new((uint)shape.Chunks(chunk), (uint)shape.H), ChunkTiles.Variant(device, q.DType),
            TileProduct.Spec(device, q.DType, ChunkTiles.Size, ChunkTiles.Size, (uint)workgroup, isWhole ? 1u : 0, (uint)of.Gate, of.ReadsUndecayed ? 1u : 0, isSame ? 1u : 0,
                ChunkTiles.AreFull(isWhole, shape.K, shape.V), ChunkTiles.AreDense(shape, chunk), ChunkTiles.Count(shape.K), ChunkTiles.Count(shape.V)));
        return new(dq, da, dk, dv, dBeta, gives is null ? null : Summed(shape, chunk, new(gives), leaving!));
    }

    private static Tensor Summed(LinearShape shape, int chunk, in ChunkCumsum.Terms terms, Tensor leaving)
    {
        var dg = Tensor.Empty(leaving.Device, DType.Float32, shape.B, shape.T, shape.H);
        ChunkCumsum.Chunks(shape, chunk, terms, shape.H, dg, ChunkCumsum.Order.Reverse, leaving);
        return dg;
    }

    private static DeltaChunkGradients Passes(LinearShape shape, int chunk, DeltaOperands of, Tensor q, Tensor dO, Tensor values, Tensor x,
        Tensor states, Tensor gradients, float scale, Tensor? final)
    {
        // Sums over channels of q dq and a da, of k dk: parts from OUT, to the first of which the WY form adds.
        var (device, k, gate, turned) = (q.Device, of.K, new ChunkGate(of.Cumulative, default), shape.Transposed);
        var parts = ChunkOut.Groups(device, q.DType, shape.K);
        Tensor? Sums() => final is not null ? Tensor.Empty(device, DType.Float32, parts, shape.Tokens, shape.H) : null;
        Tensor? rows = Sums(), columns = Sums();
        var dq = ChunkOut.HeadGated(turned, chunk, dO, values, k, gate, states, ChunkOut.Read.StateTransposed, scale, scale, final is null ? null : q, rows);
        var dk = ChunkOut.HeadGated(turned, chunk, values, dO, q, gate, gradients, ChunkOut.Read.StateTransposed | ChunkOut.Read.Reverse, 1, scale, final is null ? null : k, columns);
        var dv = Tensor.EmptyLike(of.V);
        var da = ReferenceEquals(of.A, k) ? null : Tensor.EmptyLike(of.A);
        var dBeta = of.Beta is null ? null : Tensor.EmptyLike(of.Beta);
        DeltaChunkWyBackward.Run(shape, chunk, of, values, states, x, dv, da, dk, dBeta, rows?.Narrow(0, 1), columns?.Narrow(0, 1));
        if (final is null) return new(dq, da, dk, dv, dBeta, null);
        using var dots = ChunkState.Dot(shape, chunk, states, gradients, final, shape.K, shape.V);
        using var leaving = RowDot.Of(dots, null, shape.Chunks(chunk) * shape.H, shape.K);
        return new(dq, da, dk, dv, dBeta, Summed(shape, chunk, new(rows!, null, columns, null, parts), leaving));
    }
}
