using Fla.Layers;
using Fla.Vulkan;

namespace Fla.Models.Configs;

/// <summary>Configuration of GLA models (Yang et al., "Gated Linear Attention Transformers with Hardware-Efficient Training", 2023).</summary>
public sealed class GlaConfig : MultiHeadConfig
{
    /// <summary>The family's <c>model_type</c>.</summary>
    public const string Name = "gla";

    /// <summary>A configuration with fla's defaults.</summary>
    public GlaConfig() => ExpandK = 0.5;

    /// <inheritdoc/>
    public override string ModelType => Name;

    /// <inheritdoc/>
    public override string Architecture => "GLAForCausalLM";

    /// <summary><c>use_output_gate</c>: whether the normed output is multiplied by a gate.</summary>
    public bool UseOutputGate { get; set; } = true;

    /// <summary><c>clamp_min</c>: lower bound of the log gates (natural logarithm), or null.</summary>
    public double? ClampMin { get; set; }

    /// <summary><c>use_gk</c>: without effect in fla.</summary>
    public bool UseGk { get; set; } = true;

    /// <summary><c>use_gv</c>: without effect in fla.</summary>
    public bool UseGv { get; set; }

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AllowedModes => new[] { "chunk", "fused_recurrent", "fused_chunk" };

    internal override TokenMixer CreateMixer(ComputeDevice device, int layer, DType dtype) => new GatedLinearAttention(device, Heads(new GatedLinearAttentionOptions
    {
        UseShortConv = UseShortConv,
        ConvSize = ConvSize,
        UseOutputGate = UseOutputGate,
        GateFn = HiddenAct,
        FuseNorm = FuseNorm,
        ClampMin = ClampMin,
    }, layer), dtype);

    /// <inheritdoc/>
    protected override void Exchange(ConfigFields fields)
    {
        base.Exchange(fields);
        UseOutputGate = fields.Bool("use_output_gate", UseOutputGate);
        ClampMin = fields.FloatOrNull("clamp_min", ClampMin, double.NegativeInfinity, 0);
        UseGk = fields.Bool("use_gk", UseGk);
        UseGv = fields.Bool("use_gv", UseGv);
    }
}
