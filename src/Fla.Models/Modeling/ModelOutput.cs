using Fla.Vulkan;

namespace Fla.Models;

/// <summary>What a forward pass returns; disposing it disposes its tensors.</summary>
/// <param name="Logits">[B, T or LogitsToKeep, V]; null when the loss was fused with the head.</param>
/// <param name="Loss">A scalar in f32, null without labels.</param>
/// <param name="HiddenStates">The input of each block and the normed output, if asked for.</param>
public sealed record ModelOutput(Tensor? Logits, Tensor? Loss, IReadOnlyList<Tensor> HiddenStates) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose()
    {
        Logits?.Dispose();
        Loss?.Dispose();
        foreach (var state in HiddenStates) state.Dispose();
    }
}
