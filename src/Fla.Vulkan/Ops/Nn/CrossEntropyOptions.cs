namespace Fla.Vulkan.Ops;

/// <summary>How the losses of rows become one.</summary>
public enum LossReduction
{
    /// <summary>Their sum over the number of rows that are not ignored; NaN when all are.</summary>
    Mean,

    /// <summary>Their sum.</summary>
    Sum,

    /// <summary>One loss for each row.</summary>
    None,
}

/// <summary>How a cross entropy is taken; the defaults are plain mean cross entropy.</summary>
public sealed record CrossEntropyOptions
{
    /// <summary>Rows with this label count for nothing.</summary>
    public int IgnoreIndex { get; init; } = -100;

    /// <summary>How the losses of rows become one.</summary>
    public LossReduction Reduction { get; init; } = LossReduction.Mean;

    /// <summary>ε: how much of the target is spread evenly over the vocabulary, from 0 to 1 (Szegedy et al. 2016).</summary>
    public float LabelSmoothing { get; init; }

    /// <summary>Factor of the logits.</summary>
    public float LogitScale { get; init; } = 1;

    /// <summary>Factor of lse² added to each row's loss (z-loss).</summary>
    public float LseSquareScale { get; init; }

    /// <summary>c: logits become c·tanh(x/c) after scaling; null for none.</summary>
    public float? LogitSoftcapping { get; init; }

    /// <summary>Backward overwrites the logits with their gradient; they cannot be used after it.</summary>
    public bool InplaceBackward { get; init; }

    /// <summary>Factor of l2warp: adds factor·max/rows to the gradient of each row's largest logit, and nothing to the loss (RWKV-LM). 0 is off; 1e-4 is usual.</summary>
    public float L2WarpFactor { get; init; }

    internal void Check()
    {
        Require.That(LabelSmoothing is >= 0 and <= 1, $"label smoothing lies between 0 and 1, not at {LabelSmoothing}");
        Require.That(LogitSoftcapping is null or > 0, $"soft-capping needs a positive cap, not {LogitSoftcapping}");
        Require.That(float.IsFinite(LogitScale) && float.IsFinite(LseSquareScale) && float.IsFinite(L2WarpFactor), "scales of the cross entropy are finite numbers");
    }
}
