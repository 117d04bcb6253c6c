using Fla.Layers;
using Fla.Vulkan;

namespace Fla.Models.Configs;

/// <summary>
/// Configuration of linear-attention models (Katharopoulos et al., "Transformers are RNNs", 2020; with other feature maps, Kasai et al.,
/// "Finetuning Pretrained Transformers into RNNs", 2021, Schlag et al., "Linear Transformers Are Secretly Fast Weight Programmers", 2021,
/// and Zhang et al., "The Hedgehog &amp; the Porcupine", 2024).
/// </summary>
public sealed class LinearAttentionConfig : MultiHeadConfig
{
    /// <summary>The family's <c>model_type</c>.</summary>
    public const string Name = "linear_attn";

    /// <summary>A configuration with fla's defaults.</summary>
    public LinearAttentionConfig()
    {
        AttnMode = "fused_chunk";
        FeatureMap = "elementwise_product";
    }

    /// <inheritdoc/>
    public override string ModelType => Name;

    /// <inheritdoc/>
    public override string Architecture => "LinearAttentionForCausalLM";

    /// <summary><c>tie_feature_map_qk</c>: whether q and k share the feature map's weights.</summary>
    public bool TieFeatureMapQk { get; set; }

    /// <summary><c>norm_q</c>: whether mapped queries are divided by their sum.</summary>
    public bool NormQ { get; set; }

    /// <summary><c>norm_k</c>: whether mapped keys are divided by their sum.</summary>
    public bool NormK { get; set; }

    /// <summary><c>norm_feature_map</c>: whether the operator normalises its output.</summary>
    public bool NormFeatureMap { get; set; }

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AbsentFields => new[] { "use_short_conv", "conv_size" };

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AllowedActivations => new[] { "swish", "powlu" };

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AllowedModes => new[] { "chunk", "fused_chunk", "fused_recurrent" };

    /// <inheritdoc/>
    protected override ReadOnlySpan<string> AllowedFeatureMaps
        => new[] { "hedgehog", "t2r", "elementwise_product", "dpfp", "elu", "relu", "identity" };

    internal override TokenMixer CreateMixer(ComputeDevice device, int layer, DType dtype) => new LinearAttention(device, Heads(new LinearAttentionOptions
    {
        TieFeatureMapQk = TieFeatureMapQk,
        NormQ = NormQ,
        NormK = NormK,
        NormFeatureMap = NormFeatureMap,
    }, layer), dtype);

    /// <inheritdoc/>
    protected override void Exchange(ConfigFields fields)
    {
        base.Exchange(fields);
        if (FeatureMap is null)
        {
            throw new ConfigException("is null; linear attention without a map says identity", "feature_map");
        }

        TieFeatureMapQk = fields.Bool("tie_feature_map_qk", TieFeatureMapQk);
        NormQ = fields.Bool("norm_q", NormQ);
        NormK = fields.Bool("norm_k", NormK);
        NormFeatureMap = fields.Bool("norm_feature_map", NormFeatureMap);
    }
}
