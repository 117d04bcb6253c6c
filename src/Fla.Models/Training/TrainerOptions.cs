using Fla.Vulkan.Ops;

namespace Fla.Models.Training;

/// <summary>How a model is trained.</summary>
public sealed record TrainerOptions
{
    /// <summary>B, windows in one forward pass.</summary>
    public int BatchSize { get; init; } = 8;

    /// <summary>T, tokens in a window.</summary>
    public int SequenceLength { get; init; } = 256;

    /// <summary>Sequences that a pass of B · T packed tokens has room for; 0 for a trainer of windows, which are all of one length.</summary>
    public int MaxSequences { get; init; }

    /// <summary>Forward and backward passes whose mean gradient makes one step.</summary>
    public int AccumulationSteps { get; init; } = 1;

    /// <summary>Learning rate of each step.</summary>
    public required LearningRateSchedule Schedule { get; init; }

    /// <summary>Constants of AdamW.</summary>
    public AdamWSettings AdamW { get; init; } = new(0.9, 0.95, 1e-8, 0.1);

    /// <summary>Limit of the norm of all gradients together; infinite for none.</summary>
    public double MaxGradNorm { get; init; } = 1;

    /// <summary>Whether blocks are recomputed in the backward pass instead of kept: less memory, a third more time.</summary>
    public bool UsesGradientCheckpointing { get; init; }

    /// <summary>Whether the step is captured once and replayed; else each step is recorded anew.</summary>
    public bool UseGraph { get; init; } = true;

    /// <summary>Tokens that one step sees.</summary>
    public int TokensPerStep => checked(BatchSize * SequenceLength * AccumulationSteps);

    /// <summary>Checks ranges.</summary>
    /// <exception cref="TrainingException">Names the option.</exception>
    public void Validate()
    {
        if (BatchSize < 1) throw new TrainingException($"a batch has at least one window, not {BatchSize}");
        if (SequenceLength < 2) throw new TrainingException($"a window has at least 2 tokens, not {SequenceLength}");
        if (MaxSequences < 0) throw new TrainingException($"there is no room for {MaxSequences} sequences");
        if (AccumulationSteps < 1) throw new TrainingException($"a step has at least one pass, not {AccumulationSteps}");
        if (!(MaxGradNorm > 0)) throw new TrainingException($"gradients can be clipped to a positive norm, not to {MaxGradNorm}");
        Schedule.Validate();
    }
}
