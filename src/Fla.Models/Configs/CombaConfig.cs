using Fla.Layers;
using Fla.Vulkan;

namespace Fla.Models.Configs;

/// <summary>Configuration of Comba models (Hu et al., "Comba: Improving Bilinear RNNs with Closed-loop Control", 2025).</summary>
public sealed class CombaConfig : HeadDimConfig
{
    /// <summary>The family's <c>model_type</c>.</summary>
    public const string Name = "comba";

    /// <summary>A configuration with fla's defaults.</summary>
    public CombaConfig() => NumHiddenLayers = 21;

    /// <inheritdoc/>
    public override string ModelType => Name;

    /// <inheritdoc/>
    public override string Architecture => "CombaForCausalLM";

    /// <summary><c>use_output_gate</c>: whether the normed output is multiplied by a gate.</summary>
    public bool UseOutputGate { get; set; } = true;

    /// <summary><c>use_output_correction</c>: kept, but fla's blocks do not pass it on, so the correction is always there.</summary>
    public bool UseOutputCorrection { get; set; } = true;

    /// <summary><c>use_inner_decay</c>: kept, without effect, as <see cref="UseOutputCorrection"/>.</summary>
    public bool UseInnerDecay { get; set; } = true;

    /// <summary><c>correction_factor</c>: kept, without effect, as <see cref="UseOutputCorrection"/>.</summary>
    public double CorrectionFactor { get; set; } = 1;

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AbsentFields => new[] { "elementwise_affine", "allow_neg_eigval" };

    internal override TokenMixer CreateMixer(ComputeDevice device, int layer, DType dtype) =>
        new Comba(device, Heads(new CombaOptions { UseOutputGate = UseOutputGate }, layer), dtype);

    /// <inheritdoc/>
    protected override void Exchange(ConfigFields fields)
    {
        base.Exchange(fields);
        UseOutputGate = fields.Bool("use_output_gate", UseOutputGate);
        UseOutputCorrection = fields.Bool("use_output_correction", UseOutputCorrection);
        UseInnerDecay = fields.Bool("use_inner_decay", UseInnerDecay);
        CorrectionFactor = fields.Float("correction_factor", CorrectionFactor, double.MinValue, double.MaxValue);
    }
}
