namespace Fla.Vulkan.Ops;

/// <summary>Token embeddings.</summary>
public static class Embeddings
{
    /// <summary>y[...] = weight[ids[...]]. An id outside the vocabulary gives zeros and no gradient: the device cannot raise an error.</summary>
    /// <param name="weight">f32, f16 or bf16 [V, D]. Its gradient is summed in fp32 and in a fixed order.</param>
    /// <param name="ids">i32 or i64, any shape.</param>
    /// <param name="paddingIdx">An id whose row receives no gradient.</param>
    /// <returns>[..., D] in the type of the weight.</returns>
    /// <exception cref="ShapeException">The weight is no matrix.</exception>
    /// <exception cref="DTypeException">The weight holds integers, or the ids are none.</exception>
    public static Tensor Lookup(Tensor weight, Tensor ids, int? paddingIdx = null)
    {
        Require.SameDevice(weight, ids);
        Require.Rank(weight, 2, "weight");
        Require.Float(weight, "weight");
        RowCopy.RequireIndex(ids, "ids");
        Require.That(paddingIdx is not { } p || (p >= 0 && p < weight.Size(0)), $"paddingIdx {paddingIdx} is no row of the weight {weight.Describe()}");
        int entries = weight.Size(0), width = weight.Size(1);
        var y = Tensor.Empty(weight.Device, weight.DType, [.. ids.Shape, width]);
        RowCopy.Gather(weight, ids, y, width);
        if (Autograd.IsRecording(weight))
        {
            Autograd.Record("embedding", [weight], [y], [ids], static (ctx, dy) =>
            {
                var (type, entries, width, skip) = ctx.State<(DType, int, int, int)>();
                return [dy[0] is { } d ? IndexedSum.Run(d, ctx.Saved(0)!, type, entries, width, skip) : null];
            }, (weight.DType, entries, width, paddingIdx ?? -1));
        }
        return y;
    }

    /// <summary>As the other form, with ids that the host knows and checks.</summary>
    /// <param name="weight">f32, f16 or bf16 [V, D].</param>
    /// <param name="ids">Ids, row-major.</param>
    /// <param name="shape">Their shape.</param>
    /// <param name="paddingIdx">An id whose row receives no gradient.</param>
    /// <exception cref="IndexException">An id is outside the vocabulary.</exception>
    /// <exception cref="ShapeException">The weight is no matrix, or not as many ids as the shape says.</exception>
    public static Tensor Lookup(Tensor weight, ReadOnlySpan<int> ids, ReadOnlySpan<int> shape, int? paddingIdx = null)
    {
        Require.Rank(weight, 2, "weight");
        for (var i = 0; i < ids.Length; i++)
        {
            if (ids[i] < 0 || ids[i] >= weight.Size(0)) throw new IndexException($"token id {ids[i]} at position {i} is outside the vocabulary of {weight.Size(0)}");
        }
        using var table = Tensor.FromInt32(weight.Device, ids, shape);
        return Lookup(weight, table, paddingIdx);
    }
}
