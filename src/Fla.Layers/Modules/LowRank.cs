using Fla.Vulkan;

namespace Fla.Layers;

/// <summary>W₂ act(W₁x) + b through a narrow middle: fla's LoRA. Starts as b, since W₁ is zero.</summary>
public sealed class LowRank : Module
{
    private const double Gain = 0.1;

    private readonly Linear _down;
    private readonly Linear _up;
    private readonly Func<Tensor, Tensor>? _activation;

    /// <summary>A low-rank map.</summary>
    /// <param name="device">Where.</param>
    /// <param name="inFeatures">Width of the input.</param>
    /// <param name="outFeatures">Width of the output.</param>
    /// <param name="rank">Width of the middle.</param>
    /// <param name="activation">What is applied there, or null.</param>
    /// <param name="biasRule">What a fresh bias is filled with; null for no bias.</param>
    /// <param name="dtype">Float type of the parameters.</param>
    public LowRank(ComputeDevice device, int inFeatures, int outFeatures, int rank, Func<Tensor, Tensor>? activation = null, WeightRule? biasRule = null,
        DType dtype = DType.Float32)
        : base(device, dtype)
    {
        _activation = activation;
        _down = AddModule("lora.0", () => new Linear(device, inFeatures, rank, weightRule: WeightRules.Zero, dtype: dtype));
        var gain = Gain * Math.Sqrt(Math.Max(1, (double)rank / outFeatures));
        _up = AddModule("lora.2", () => new Linear(device, rank, outFeatures, biasRule != null, WeightRules.Orthogonal(gain), biasRule, dtype));
    }

    /// <summary>Applies the map to the last axis.</summary>
    /// <param name="x">[..., in].</param>
    /// <returns>[..., out].</returns>
    public Tensor Forward(Tensor x)
    {
        var middle = _down.Forward(x);
        return _up.Forward(_activation?.Invoke(middle) ?? middle);
    }
}
