namespace Fla.Models.Training;

/// <summary>What a training step showed.</summary>
/// <param name="Step">Its number, from 0.</param>
/// <param name="Loss">Mean of what is minimised, in nats per token, before the update.</param>
/// <param name="GradNorm">Norm of all gradients together, before clipping and without the scale of the loss.</param>
/// <param name="LearningRate">The rate of the update.</param>
public readonly record struct StepResult(long Step, double Loss, double GradNorm, double LearningRate)
{
    /// <summary>True when gradients overflowed and the step changed nothing but the scale of the loss.</summary>
    public bool IsSkipped { get; init; }

    /// <summary>What the loss was multiplied by for the backward pass; 1 without loss scaling.</summary>
    public double LossScale { get; init; } = 1;

    /// <summary>Where its time went; two results that differ in this alone are equal.</summary>
    public StepTiming Timing { get; init; }

    /// <inheritdoc/>
    public bool Equals(StepResult other) => Shown.Equals(other.Shown);

    /// <inheritdoc/>
    public override int GetHashCode() => Shown.GetHashCode();

    private (long, double, double, double, bool, double) Shown => (Step, Loss, GradNorm, LearningRate, IsSkipped, LossScale);
}

/// <summary>Where the time of a training step went, in seconds.</summary>
/// <param name="Device">From the moment that the device could begin to its end.</param>
/// <param name="Idle">For which the device had waited for it since the step before; NaN when something else came between.</param>
/// <param name="Host">That the host took to start it.</param>
public readonly record struct StepTiming(double Device, double Idle, double Host);
