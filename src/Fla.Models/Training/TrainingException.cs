using Fla.Vulkan;

namespace Fla.Models.Training;

/// <summary>A training run that cannot start or go on: too little text, options that contradict each other, too little memory, a loss that is not finite.</summary>
public class TrainingException(string message) : FlaException(message);

/// <summary>A loss or gradients that are not finite.</summary>
/// <param name="step">The step.</param>
/// <param name="loss">Its loss.</param>
/// <param name="gradNorm">The norm of its gradients.</param>
/// <param name="tensor">The first tensor of the step that was not finite, with the place and value of its first such element; null when none was.</param>
public sealed class NonFiniteException(long step, double loss, double gradNorm, string? tensor) : TrainingException(
    $"step {step}: the loss is {loss} and the gradient's norm {gradNorm}; {(tensor == null ? "no single tensor is at fault, the norm itself overflows" : $"the first that was not finite is {tensor}")}; "
    + "parameters are those of before the step: lower the learning rate, or train in f32 or bf16")
{
    /// <summary>The step.</summary>
    public long Step { get; } = step;

    /// <summary>The first tensor of the step that was not finite, with the place and value of its first such element; null when none was.</summary>
    public string? Tensor { get; } = tensor;
}
