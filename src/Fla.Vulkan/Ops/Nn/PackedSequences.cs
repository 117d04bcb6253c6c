namespace Fla.Vulkan.Ops;

/// <summary>Checks that boundaries of packed sequences belong to a tensor [B,T,...].</summary>
internal static class PackedSequences
{
    /// <summary>The number of sequences: B, or those that are packed.</summary>
    /// <exception cref="ShapeException">Packed sequences with B other than 1, or of other length.</exception>
    public static int SequencesOf(this CuSeqlens? cuSeqlens, Tensor x)
    {
        if (cuSeqlens is null) return x.Size(0);
        Require.That(x.Size(0) == 1 && x.Size(1) == cuSeqlens.Length, $"cuSeqlens of {cuSeqlens.Length} tokens needs [1, {cuSeqlens.Length}, ...], not {x.Describe()}");
        return cuSeqlens.Count;
    }
}
