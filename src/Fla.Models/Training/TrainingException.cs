using Fla.Vulkan;

namespace Fla.Models.Training;

/// <summary>A training run that cannot start or go on: too little text, options that contradict each other, a loss that is not finite.</summary>
public sealed class TrainingException(string message) : FlaException(message);
