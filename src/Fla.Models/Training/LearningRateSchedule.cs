namespace Fla.Models.Training;

/// <summary>How the learning rate runs after the warm-up.</summary>
public enum ScheduleKind
{
    /// <summary>Stays at the peak.</summary>
    Constant,

    /// <summary>Falls on a straight line to the floor.</summary>
    Linear,

    /// <summary>Falls on half a cosine to the floor (Loshchilov and Hutter 2016).</summary>
    Cosine,

    /// <summary>Warm-up, stable, decay (Hu et al. 2024): stays at the peak, then falls on a straight line over the last steps.</summary>
    Wsd,
}

/// <summary>The learning rate of every step: a linear warm-up from 0 to the peak, then one of the kinds.</summary>
public sealed record LearningRateSchedule
{
    /// <summary>How it falls.</summary>
    public ScheduleKind Kind { get; init; } = ScheduleKind.Cosine;

    /// <summary>The highest rate.</summary>
    public double Peak { get; init; } = 3e-4;

    /// <summary>Steps of the run; later ones stay at the floor.</summary>
    public required long Steps { get; init; }

    /// <summary>Steps of the warm-up.</summary>
    public long WarmupSteps { get; init; }

    /// <summary>The lowest rate after the warm-up, as a share of the peak.</summary>
    public double MinRatio { get; init; } = 0.1;

    /// <summary>Share of the steps over which WSD falls.</summary>
    public double DecayRatio { get; init; } = 0.1;

    /// <summary>The rate of a step.</summary>
    /// <param name="step">Counted from 0.</param>
    public double At(long step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        if (step < WarmupSteps) return Peak * (step + 1) / (WarmupSteps + 1);
        var start = Kind == ScheduleKind.Wsd ? Math.Max(WarmupSteps, Steps - (long)Math.Round(Steps * DecayRatio)) : WarmupSteps;
        var progress = Math.Clamp((double)(step - start) / Math.Max(1, Steps - start), 0, 1);
        var share = Kind switch
        {
            ScheduleKind.Constant => 1,
            ScheduleKind.Cosine => (1 + Math.Cos(Math.PI * progress)) / 2,
            _ => 1 - progress,
        };
        return Peak * (MinRatio + (1 - MinRatio) * share);
    }

    /// <summary>Checks that the numbers make sense together.</summary>
    /// <exception cref="TrainingException">One is out of range.</exception>
    public void Validate()
    {
        if (!(Peak > 0) || !double.IsFinite(Peak)) throw new TrainingException($"the learning rate must be above 0, not {Peak}");
        if (Steps < 1) throw new TrainingException($"a run has at least one step, not {Steps}");
        if (WarmupSteps < 0 || WarmupSteps > Steps) throw new TrainingException($"a warm-up of {WarmupSteps} steps does not fit a run of {Steps}");
        if (!(MinRatio is >= 0 and <= 1)) throw new TrainingException($"the floor is a share of the peak from 0 to 1, not {MinRatio}");
        if (!(DecayRatio is >= 0 and <= 1)) throw new TrainingException($"the decay is a share of the steps from 0 to 1, not {DecayRatio}");
    }
}
