using Fla.Vulkan;

namespace Fla.Models.Checking;

/// <summary>How close a computation must come to the reference, by the float type of its storage.</summary>
/// <param name="Forward">Error ratio of logits, states and outputs.</param>
/// <param name="Gradient">Error ratio of gradients that the reference stored in fp16.</param>
/// <param name="ExactGradient">Error ratio of gradients that the reference stored in fp32.</param>
/// <param name="Loss">Difference of losses, as a part of the loss where that is more than 1.</param>
internal sealed record Tolerances(double Forward, double Gradient, double ExactGradient, double Loss)
{
    public static Tolerances For(DType type) => type == DType.Float32 ? new(1e-4, 2e-3, 1e-3, 1e-4) : new(2e-2, 3e-2, 3e-2, 2e-2);
}
