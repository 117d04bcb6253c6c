using Fla.Vulkan;
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

    /// <summary>How the scale of the loss moves; null for <see cref="LossScale.Dynamic"/> in f16, and none in f32 and bf16, whose range needs none.</summary>
    public LossScale? LossScale { get; init; }

    /// <summary>
    /// What the loss is made of. By default its head is fused: the logits of all tokens would be a model's largest tensor, and once in memory they are
    /// written and read three times.
    /// </summary>
    public LossOptions Loss { get; init; } = new() { IsFused = true };

    /// <summary>Whether blocks are recomputed in the backward pass instead of kept: less memory, a third more time.</summary>
    public bool UsesGradientCheckpointing { get; init; }

    /// <summary>Whether the step is captured once and replayed; else each step is recorded anew.</summary>
    public bool UseGraph { get; init; } = true;

    /// <summary>Tokens that one step sees.</summary>
    public int TokensPerStep => checked(BatchSize * SequenceLength * AccumulationSteps);

    /// <summary>Checks ranges.</summary>
    /// <exception cref="TrainingException">Names the option.</exception>
    /// <exception cref="ShapeException">Loss scales that make no sense together.</exception>
    public void Validate()
    {
        if (BatchSize < 1) throw new TrainingException($"a batch has at least one window, not {BatchSize}");
        if (SequenceLength < 2) throw new TrainingException($"a window has at least 2 tokens, not {SequenceLength}");
        if (MaxSequences < 0) throw new TrainingException($"there is no room for {MaxSequences} sequences");
        if (AccumulationSteps < 1) throw new TrainingException($"a step has at least one pass, not {AccumulationSteps}");
        if ((long)BatchSize * SequenceLength * AccumulationSteps > int.MaxValue) throw new TrainingException($"a step of {BatchSize} x {SequenceLength} x {AccumulationSteps} tokens is too long");
        if (!(MaxGradNorm > 0)) throw new TrainingException($"gradients can be clipped to a positive norm, not to {MaxGradNorm}");
        if (!(Loss.LabelSmoothing is >= 0 and <= 1)) throw new TrainingException($"label smoothing lies between 0 and 1, not at {Loss.LabelSmoothing}");
        if (!(Loss.ZLoss >= 0) || !float.IsFinite(Loss.ZLoss)) throw new TrainingException($"the factor of the z-loss is not negative, not {Loss.ZLoss}");
        if (!(Loss.DistillWeight is >= 0 and <= 1)) throw new TrainingException($"the weight of the distillation lies between 0 and 1, not at {Loss.DistillWeight}");
        if (!(Loss.Temperature > 0) || !float.IsFinite(Loss.Temperature)) throw new TrainingException($"a temperature is positive, not {Loss.Temperature}");
        LossScale?.Check();
        Schedule.Validate();
    }
}
