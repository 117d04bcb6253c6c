using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>
/// What mixers of the delta-rule family share: queries, keys and values that pass a short convolution and silu, and an output that is normed per head, gated
/// and projected.
/// </summary>
public abstract class DeltaMixer : QkvMixer
{
    private FusedRmsNormGated? _gatedNorm;
    private RmsNorm? _norm;
    private Linear? _o;

    /// <summary>A mixer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    protected DeltaMixer(ComputeDevice device, MixerOptions options, DType dtype)
        : base(device, options, dtype)
    {
    }

    /// <summary>Makes the norm and the output projection.</summary>
    /// <param name="heads">Value heads.</param>
    /// <param name="headV">Width of a value.</param>
    /// <param name="eps">Of the norm.</param>
    /// <param name="gate">Activation of the output gate; null for no gate.</param>
    protected void AddOutput(int heads, int headV, double eps, NormGate? gate)
    {
        if (gate is { } activation) _gatedNorm = AddModule("o_norm", () => new FusedRmsNormGated(Device, headV, eps, activation: activation, dtype: DType));
        else _norm = AddModule("o_norm", () => new RmsNorm(Device, headV, eps, dtype: DType));
        _o = AddModule("o_proj", () => new Linear(Device, heads * headV, HiddenSize, dtype: DType));
    }

    /// <summary>q, k and v [B, T, width], after their convolutions, or after silu without them.</summary>
    /// <param name="input">The call.</param>
    /// <param name="activatesQk">Whether silu is for q and k too.</param>
    protected (Tensor Q, Tensor K, Tensor V) ProjectActivated(MixerInput input, bool activatesQk = true)
    {
        var (q, k, v) = Project(input);
        if (HasConvolutions) return (q, k, v);
        return activatesQk ? (Activations.Silu(q), Activations.Silu(k), Activations.Silu(v)) : (q, k, Activations.Silu(v));
    }

    /// <summary>Norm per head, gate, projection.</summary>
    /// <param name="input">The call.</param>
    /// <param name="o">[B, T, H, V].</param>
    /// <param name="gate">[B, T, H·V] before its activation, or null.</param>
    /// <returns>[B, T, D].</returns>
    protected Tensor Output(MixerInput input, Tensor o, Tensor? gate)
    {
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(o);
        return gate != null ? input.Finish(_o!, _gatedNorm!, o, gate) : input.Finish(_o!, _norm!.Forward(o).View(o.Size(0), o.Size(1), -1));
    }
}
