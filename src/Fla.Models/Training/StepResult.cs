namespace Fla.Models.Training;

/// <summary>What a training step showed.</summary>
/// <param name="Step">Its number, from 0.</param>
/// <param name="Loss">Mean loss in nats per token, before the update.</param>
/// <param name="GradNorm">Norm of all gradients together, before clipping.</param>
/// <param name="LearningRate">The rate of the update.</param>
public readonly record struct StepResult(long Step, double Loss, double GradNorm, double LearningRate);
