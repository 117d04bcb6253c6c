namespace Fla.Testing.References;

/// <summary>How a cross entropy is taken; the defaults are plain mean cross entropy.</summary>
public sealed record CrossEntropyOptions
{
    /// <summary>Rows with this label count for nothing.</summary>
    public int IgnoreIndex { get; init; } = -100;

    /// <summary>"mean" over rows not ignored, "sum", or "none" (a loss for every row).</summary>
    public string Reduction { get; init; } = "mean";

    /// <summary>ε: how much of the target is spread evenly over the vocabulary.</summary>
    public double LabelSmoothing { get; init; }

    /// <summary>Factor of the logits.</summary>
    public double LogitScale { get; init; } = 1;

    /// <summary>Factor of lse² added to each row's loss.</summary>
    public double LseSquareScale { get; init; }

    /// <summary>c: logits become c·tanh(x/c) after scaling.</summary>
    public double? LogitSoftcapping { get; init; }

    /// <summary>
    /// Factor of l2warp: adds factor·max/rows to the gradient of each row's largest raw logit, and nothing to the loss. 0 is off.
    /// </summary>
    public double L2WarpFactor { get; init; }
}
