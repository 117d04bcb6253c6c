namespace Fla.Models.Training;

/// <summary>Sequences of several documents packed into one row: what one forward pass trains on. No state and no label crosses a boundary.</summary>
/// <param name="Tokens">[L], all sequences one after the other.</param>
/// <param name="Boundaries">0, then the end of each sequence; as many as the pass has room for, the unused ones at L.</param>
/// <param name="Ignored">Tokens at the end of the row that fill it up: they are read, but nothing is learnt from them.</param>
public sealed record PackedBatch(int[] Tokens, int[] Boundaries, int Ignored = 0)
{
    private const int IgnoreIndex = -100;

    /// <summary>
    /// What the model is asked for, [L]: the label at t belongs to the logits at t − 1, so the first token of each sequence is ignored, and the model's
    /// own shift leaves the last logits of each sequence without a label.
    /// </summary>
    public int[] Labels()
    {
        var labels = (int[])Tokens.Clone();
        foreach (var boundary in Boundaries)
        {
            if (boundary < labels.Length) labels[boundary] = IgnoreIndex;
        }
        labels.AsSpan(labels.Length - Ignored).Fill(IgnoreIndex);
        return labels;
    }
}
