using Fla.Layers;
using Fla.Vulkan;

namespace Fla.Models.Configs;

/// <summary>What the family's models are made of: with a layer and the fields, all that a new family takes.</summary>
public abstract partial class ModelConfig
{
    /// <summary>What fresh embeddings are filled with.</summary>
    internal virtual WeightRule EmbeddingRule => WeightRules.Normal;

    /// <summary>What a fresh head is filled with.</summary>
    internal virtual WeightRule HeadRule => WeightRules.Normal;

    /// <summary>A block's first weight that has the MLP's width as rows: a file is judged by it before memory is asked for.</summary>
    internal virtual string MlpWeight => "mlp.gate_proj.weight";

    /// <summary>Where files of an older layout have a parameter; null for nowhere else.</summary>
    internal virtual StackedKey? OlderKey(string key) => null;

    /// <summary>Whether the loss is computed together with the head, so that there are no logits.</summary>
    internal virtual bool FusesLoss(bool isTraining) => FuseLinearCrossEntropy;

    /// <summary>The token mixer of a layer.</summary>
    internal abstract TokenMixer CreateMixer(ComputeDevice device, int layer, DType dtype);

    /// <summary>The mixer of a layer: the family's, or softmax attention in layers that the configuration names.</summary>
    internal TokenMixer MixerAt(ComputeDevice device, int layer, DType dtype) => AttentionAt(layer) is { } spec
        ? new Attention(device, Common(new AttentionOptions
        {
            NumHeads = spec.NumHeads,
            NumKvHeads = spec.NumKvHeads,
            QkvBias = spec.QkvBias,
            WindowSize = spec.WindowSize,
            RopeTheta = spec.RopeTheta,
        }, layer), dtype)
        : CreateMixer(device, layer, dtype);

    /// <summary>Whether its layers are a mixer and an MLP: only there may layers be softmax attention, or residuals be attended to.</summary>
    internal virtual bool HasUsualBlocks => true;

    /// <summary>A layer: a mixer and an MLP, each with its norm, unless the family has other blocks.</summary>
    internal virtual Block CreateBlock(ComputeDevice device, int layer, DType dtype) => AttnResBlockSize is { } size
        ? new DepthMixBlock(device, this, layer, size, dtype)
        : new MixerBlock(device, this, layer, dtype);

    /// <summary>A norm of the residual stream.</summary>
    internal virtual Norm CreateNorm(ComputeDevice device, DType dtype) => new RmsNorm(device, HiddenSize, NormEps, dtype: dtype);

    /// <summary>Throws unless the fields are in range and the family has every layer they ask for.</summary>
    /// <exception cref="ConfigException">Names the field.</exception>
    internal void CheckModules()
    {
        Validate();
        if (HasUsualBlocks) return;
        if (Attn.Count > 0) throw new ConfigException("softmax attention does not fit between the family's own layers, in fla neither", AttnSpec.Field);
        if (AttnResBlockSize != null) throw new ConfigException("the family has no attention residuals", "attnres_block_size");
    }

    /// <summary>A mixer's options with what all families tell it.</summary>
    protected T Common<T>(T options, int layer)
        where T : MixerOptions => options with { Mode = AttnMode, HiddenSize = HiddenSize, NormEps = NormEps, LayerIdx = layer };
}
