using Fla.Layers;
using Fla.Models.Configs;
using Fla.Vulkan;

namespace Fla.Models;

/// <summary>Embeddings, blocks and the final norm: what fla calls the base model.</summary>
internal sealed class Trunk : Module
{
    private readonly List<Block> _blocks = [];
    private readonly RmsNorm _norm;

    public Trunk(ComputeDevice device, ModelConfig config, DType dtype)
        : base(device, dtype)
    {
        Embeddings = AddModule("embeddings", () => new Embedding(device, config.VocabSize, config.HiddenSize, dtype));
        for (var i = 0; i < config.NumHiddenLayers; i++) _blocks.Add(AddModule($"layers.{i}", () => new Block(device, config, i, dtype)));
        _norm = AddModule("norm", () => new RmsNorm(device, config.HiddenSize, config.NormEps, dtype: dtype));
    }

    public Embedding Embeddings { get; }

    public bool UsesCuSeqlens => _blocks.TrueForAll(block => block.UsesCuSeqlens);

    /// <summary>Ids [B, T] to normed states [B, T, D]; the inputs of the blocks, and the result, go to <paramref name="hidden"/> if it is there.</summary>
    public Tensor Forward(Tensor ids, ForwardOptions options, bool isCheckpointed, List<Tensor>? hidden)
    {
        var x = Embeddings.Forward(ids);
        for (var i = 0; i < _blocks.Count; i++)
        {
            var (block, input) = (_blocks[i], x);
            var context = new MixerContext
            {
                Mode = options.Mode, CuSeqlens = options.CuSeqlens, Mask = options.Mask, Offsets = options.Offsets, Cache = options.Cache?[i],
            };
            x = isCheckpointed ? Autograd.Checkpoint(inputs => [block.Forward(inputs[0], context)], input)[0] : block.Forward(input, context);
            if (hidden == null) input.Dispose();
            else hidden.Add(input);
        }
        var y = _norm.Forward(x);
        hidden?.Add(y);
        if (hidden == null) x.Dispose();
        return y;
    }
}
