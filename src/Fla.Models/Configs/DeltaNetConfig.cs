using Fla.Layers;
using Fla.Vulkan;

namespace Fla.Models.Configs;

/// <summary>
/// Configuration of DeltaNet models (Yang et al., "Parallelizing Linear Transformers with the Delta Rule over Sequence Length", 2024).
/// </summary>
public sealed class DeltaNetConfig : MultiHeadConfig
{
    /// <summary>The family's <c>model_type</c>.</summary>
    public const string Name = "delta_net";

    /// <summary>A configuration with fla's defaults.</summary>
    public DeltaNetConfig() => (NumHeads, UseShortConv) = (16, true);

    /// <inheritdoc/>
    public override string ModelType => Name;

    /// <inheritdoc/>
    public override string Architecture => "DeltaNetForCausalLM";

    /// <summary><c>use_gate</c>: whether the normed output is multiplied by a gate.</summary>
    public bool UseGate { get; set; }

    /// <summary><c>allow_neg_eigval</c>: whether the steps of the delta rule reach 2 instead of 1.</summary>
    public bool AllowNegEigval { get; set; }

    /// <summary><c>use_beta</c>: whether the steps are learned; else they are 1.</summary>
    public bool UseBeta { get; set; } = true;

    /// <summary><c>use_output_norm</c>: kept, without effect in fla, where the norm is always there.</summary>
    public bool UseOutputNorm { get; set; } = true;

    /// <summary><c>qk_norm</c>: what queries and keys are divided by, l2 or sum.</summary>
    public string QkNorm { get; set; } = "l2";

    /// <summary><c>qk_activation</c>: what queries and keys pass, silu, relu, elu or identity.</summary>
    public string QkActivation { get; set; } = "silu";

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AbsentFields => new[] { "elementwise_affine", "num_kv_heads", "feature_map" };

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AllowedActivations => new[] { "swish", "powlu" };

    internal override TokenMixer CreateMixer(ComputeDevice device, int layer, DType dtype) => new DeltaNet(device, Heads(new DeltaNetOptions
    {
        UseBeta = UseBeta,
        UseGate = UseGate,
        UseShortConv = UseShortConv,
        ConvSize = ConvSize,
        AllowNegEigval = AllowNegEigval,
        QkActivation = QkActivation,
        QkNorm = QkNorm,
    }, layer), dtype);

    /// <inheritdoc/>
    protected override void Exchange(ConfigFields fields)
    {
        base.Exchange(fields);
        UseGate = fields.Bool("use_gate", UseGate);
        AllowNegEigval = fields.Bool("allow_neg_eigval", AllowNegEigval);
        UseBeta = fields.Bool("use_beta", UseBeta);
        UseOutputNorm = fields.Bool("use_output_norm", UseOutputNorm);
        QkNorm = fields.Choice("qk_norm", QkNorm, "l2", "sum");
        QkActivation = fields.Choice("qk_activation", QkActivation, "silu", "relu", "elu", "identity");
    }
}
