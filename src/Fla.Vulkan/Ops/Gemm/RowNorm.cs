namespace Fla.Vulkan.Ops;

/// <summary>An RMS norm that a product applies to its input as it reads it: every run of channels over its root mean square, times weight and act(gate).</summary>
/// <param name="Width">Channels of a run: all of the last axis, or those of a head.</param>
/// <param name="Eps">Added to the mean square.</param>
/// <param name="Weight">[Width], or null.</param>
/// <param name="Gate">Of the input's elements and type, or null.</param>
/// <param name="Activation">Applied to the gate.</param>
public readonly record struct RowNorm(int Width, float Eps, Tensor? Weight = null, Tensor? Gate = null, NormGate Activation = NormGate.Swish);
