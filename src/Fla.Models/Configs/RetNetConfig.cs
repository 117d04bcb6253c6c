using Fla.Layers;
using Fla.Vulkan;

namespace Fla.Models.Configs;

/// <summary>Configuration of RetNet models (Sun et al., "Retentive Network: A Successor to Transformer for Large Language Models", 2023).</summary>
public sealed class RetNetConfig : MultiHeadConfig
{
    /// <summary>The family's <c>model_type</c>.</summary>
    public const string Name = "retnet";

    /// <summary>A configuration with fla's defaults.</summary>
    public RetNetConfig()
    {
        HiddenRatio = 2;
        ExpandV = 2;
        NumHeads = 8;
    }

    /// <inheritdoc/>
    public override string ModelType => Name;

    /// <inheritdoc/>
    public override string Architecture => "RetNetForCausalLM";

    /// <summary><c>use_output_gate</c>: whether the normed output is multiplied by a gate.</summary>
    public bool UseOutputGate { get; set; } = true;

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AllowedModes => new[] { "chunk", "fused_recurrent", "fused_chunk", "parallel" };

    internal override TokenMixer CreateMixer(ComputeDevice device, int layer, DType dtype) => new MultiScaleRetention(device, Heads(new MultiScaleRetentionOptions
    {
        UseOutputGate = UseOutputGate,
        GateFn = HiddenAct,
        FuseNorm = FuseNorm,
    }, layer), dtype);

    /// <inheritdoc/>
    protected override void Exchange(ConfigFields fields)
    {
        base.Exchange(fields);
        UseOutputGate = fields.Bool("use_output_gate", UseOutputGate);
    }
}
