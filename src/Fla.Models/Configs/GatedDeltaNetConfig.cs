using Fla.Layers;
using Fla.Vulkan;

namespace Fla.Models.Configs;

/// <summary>Configuration of Gated DeltaNet models (Yang, Kautz and Hatamizadeh, "Gated Delta Networks: Improving Mamba2 with Delta Rule", 2024).</summary>
public sealed class GatedDeltaNetConfig : HeadDimConfig
{
    /// <summary>The family's <c>model_type</c>.</summary>
    public const string Name = "gated_deltanet";

    /// <summary>A configuration with fla's defaults.</summary>
    public GatedDeltaNetConfig() => NumHiddenLayers = 21;

    /// <inheritdoc/>
    public override string ModelType => Name;

    /// <inheritdoc/>
    public override string Architecture => "GatedDeltaNetForCausalLM";

    /// <summary><c>use_gate</c>: whether the normed output is multiplied by a gate.</summary>
    public bool UseGate { get; set; } = true;

    internal override TokenMixer CreateMixer(ComputeDevice device, int layer, DType dtype) => new GatedDeltaNet(device, Heads(new GatedDeltaNetOptions
    {
        UseGate = UseGate,
        AllowNegEigval = AllowNegEigval,
    }, layer), dtype);

    /// <inheritdoc/>
    protected override void Exchange(ConfigFields fields)
    {
        base.Exchange(fields);
        UseGate = fields.Bool("use_gate", UseGate);
    }
}
