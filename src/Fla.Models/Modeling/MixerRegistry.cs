using Fla.Layers;
using Fla.Models.Configs;
using Fla.Vulkan;

namespace Fla.Models;

/// <summary>The token mixer of each family's blocks: with a configuration and a layer, all that a new family takes.</summary>
internal static class MixerRegistry
{
    private delegate TokenMixer Factory(ComputeDevice device, ModelConfig config, int layer, DType dtype);

    private static readonly Dictionary<string, Factory> Families = new(StringComparer.Ordinal)
    {
        [GlaConfig.Name] = (device, config, layer, dtype) => new GatedLinearAttention(device, Options((GlaConfig)config, layer), dtype),
        [RetNetConfig.Name] = (device, config, layer, dtype) => new MultiScaleRetention(device, Options((RetNetConfig)config, layer), dtype),
        [LinearAttentionConfig.Name] = (device, config, layer, dtype) => new LinearAttention(device, Options((LinearAttentionConfig)config, layer), dtype),
    };

    /// <summary>Throws unless every layer that the configuration asks for exists here.</summary>
    /// <exception cref="ConfigException">Names the field.</exception>
    public static void Check(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        config.Validate();
        if (!Families.ContainsKey(config.ModelType))
        {
            throw new ConfigException($"'{config.ModelType}' has no layers here; there are {string.Join(", ", Families.Keys)}", "model_type");
        }
        if (config.Attn.Count > 0) throw new ConfigException("softmax-attention layers are not implemented", "attn");
        if (config.AttnResBlockSize != null) throw new ConfigException("attention residuals are not implemented", "attnres_block_size");
    }

    /// <summary>The mixer of one layer.</summary>
    public static TokenMixer Create(ComputeDevice device, ModelConfig config, int layer, DType dtype) => Families[config.ModelType](device, config, layer, dtype);

    private static GatedLinearAttentionOptions Options(GlaConfig config, int layer) => new()
    {
        Mode = config.AttnMode,
        HiddenSize = config.HiddenSize,
        ExpandK = config.ExpandK,
        ExpandV = config.ExpandV,
        NumHeads = config.NumHeads,
        NumKvHeads = config.NumKvHeads,
        FeatureMap = config.FeatureMap,
        UseShortConv = config.UseShortConv,
        ConvSize = config.ConvSize,
        UseOutputGate = config.UseOutputGate,
        GateFn = config.HiddenAct,
        ElementwiseAffine = config.ElementwiseAffine,
        NormEps = config.NormEps,
        ClampMin = config.ClampMin,
        FuseNorm = config.FuseNorm,
        LayerIdx = layer,
    };

    private static MultiScaleRetentionOptions Options(RetNetConfig config, int layer) => new()
    {
        Mode = config.AttnMode,
        HiddenSize = config.HiddenSize,
        ExpandK = config.ExpandK,
        ExpandV = config.ExpandV,
        NumHeads = config.NumHeads,
        NumKvHeads = config.NumKvHeads,
        FeatureMap = config.FeatureMap,
        UseOutputGate = config.UseOutputGate,
        GateFn = config.HiddenAct,
        ElementwiseAffine = config.ElementwiseAffine,
        NormEps = config.NormEps,
        FuseNorm = config.FuseNorm,
        LayerIdx = layer,
    };

    private static LinearAttentionOptions Options(LinearAttentionConfig config, int layer) => new()
    {
        Mode = config.AttnMode,
        HiddenSize = config.HiddenSize,
        ExpandK = config.ExpandK,
        ExpandV = config.ExpandV,
        NumHeads = config.NumHeads,
        NumKvHeads = config.NumKvHeads,
        FeatureMap = config.FeatureMap,
        TieFeatureMapQk = config.TieFeatureMapQk,
        NormQ = config.NormQ,
        NormK = config.NormK,
        NormFeatureMap = config.NormFeatureMap,
        ElementwiseAffine = config.ElementwiseAffine,
        NormEps = config.NormEps,
        LayerIdx = layer,
    };
}
