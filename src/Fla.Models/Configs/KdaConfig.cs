using Fla.Layers;
using Fla.Vulkan;

namespace Fla.Models.Configs;

/// <summary>Configuration of KDA models (Kimi Team, "Kimi Linear: An Expressive, Efficient Attention Architecture", 2025).</summary>
public sealed class KdaConfig : HeadDimConfig
{
    /// <summary>The family's <c>model_type</c>.</summary>
    public const string Name = "kda";

    private const double LeastSafeBound = -5;

    /// <summary>A configuration with fla's defaults.</summary>
    public KdaConfig() => (NumHeads, HeadDim, ExpandV) = (16, 128, 1);

    /// <inheritdoc/>
    public override string ModelType => Name;

    /// <inheritdoc/>
    public override string Architecture => "KDAForCausalLM";

    /// <summary><c>safe_gate</c>: whether the decays are known to be bounded; needs <see cref="LowerBound"/>.</summary>
    public bool SafeGate { get; set; }

    /// <summary><c>lower_bound</c>: least log decay, below 0, of gates that are then sigmoids; null for unbounded ones.</summary>
    public double? LowerBound { get; set; }

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AbsentFields => new[] { "elementwise_affine", "fuse_linear_cross_entropy" };

    internal override bool FusesLoss(bool isTraining) => FuseLinearCrossEntropy || (FuseCrossEntropy && isTraining);

    internal override TokenMixer CreateMixer(ComputeDevice device, int layer, DType dtype) => new KimiDeltaAttention(device, Heads(new KimiDeltaAttentionOptions
    {
        AllowNegEigval = AllowNegEigval,
        SafeGate = SafeGate,
        LowerBound = LowerBound,
    }, layer), dtype);

    /// <inheritdoc/>
    protected override void Exchange(ConfigFields fields)
    {
        base.Exchange(fields);
        SafeGate = fields.Bool("safe_gate", SafeGate);
        LowerBound = fields.FloatOrNull("lower_bound", LowerBound, double.MinValue, -double.Epsilon);
    }

    /// <inheritdoc/>
    protected override void Check()
    {
        base.Check();
        if (SafeGate && !(LowerBound >= LeastSafeBound))
        {
            throw new ConfigException($"safe_gate needs a bound from {LeastSafeBound} to below 0", "lower_bound");
        }
    }
}
