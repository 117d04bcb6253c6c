using Fla.Layers;
using Fla.Vulkan;

namespace Fla.Models.Configs;

/// <summary>
/// Configuration of Gated DeltaProduct models (Siems et al., "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder Products", 2025).
/// </summary>
public sealed class GatedDeltaProductConfig : HeadDimConfig
{
    /// <summary>The family's <c>model_type</c>.</summary>
    public const string Name = "gated_deltaproduct";

    private const int MaxSteps = 1024;

    /// <summary>A configuration with fla's defaults.</summary>
    public GatedDeltaProductConfig() => NumHiddenLayers = 21;

    /// <inheritdoc/>
    public override string ModelType => Name;

    /// <inheritdoc/>
    public override string Architecture => "GatedDeltaProductForCausalLM";

    /// <summary><c>use_output_gate</c>: whether the normed output is multiplied by a gate.</summary>
    public bool UseOutputGate { get; set; } = true;

    /// <summary><c>use_forget_gate</c>: whether the memory decays.</summary>
    public bool UseForgetGate { get; set; }

    /// <summary><c>num_householder</c>: delta steps for each token.</summary>
    public int NumHouseholder { get; set; } = 1;

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AbsentFields => new[] { "elementwise_affine", "num_v_heads" };

    internal override TokenMixer CreateMixer(ComputeDevice device, int layer, DType dtype) => new GatedDeltaProduct(device, Heads(new GatedDeltaProductOptions
    {
        UseOutputGate = UseOutputGate,
        UseForgetGate = UseForgetGate,
        AllowNegEigval = AllowNegEigval,
        NumHouseholder = NumHouseholder,
    }, layer), dtype);

    /// <inheritdoc/>
    protected override void Exchange(ConfigFields fields)
    {
        base.Exchange(fields);
        UseOutputGate = fields.Bool("use_output_gate", UseOutputGate);
        UseForgetGate = fields.Bool("use_forget_gate", UseForgetGate);
        NumHouseholder = fields.Int("num_householder", NumHouseholder, 1, MaxSteps);
    }
}
