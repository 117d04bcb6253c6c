using Fla.Layers;
using Fla.Models.Configs;
using Fla.Vulkan;

namespace Fla.Models;

/// <summary>Embeddings, blocks and the final norm: what fla calls the base model.</summary>
internal sealed class Trunk : Module
{
    private readonly List<Block> _blocks = [];
    private readonly Norm _norm;
    private readonly DepthMix? _residual;

    public Trunk(ComputeDevice device, ModelConfig config, DType dtype)
        : base(device, dtype)
    {
        Embeddings = AddModule("embeddings", () => new Embedding(device, config.VocabSize, config.HiddenSize, config.EmbeddingRule, dtype));
        for (var i = 0; i < config.NumHiddenLayers; i++) _blocks.Add(AddModule($"layers.{i}", () => config.CreateBlock(device, i, dtype)));
        _norm = AddModule("norm", () => config.CreateNorm(device, dtype));
        if (config.AttnResBlockSize == null) return;
        _residual = new(AddModule("res_proj", () => DepthMix.Query(device, config.HiddenSize, dtype)), AddModule("res_norm", () => config.CreateNorm(device, dtype)));
    }

    public Embedding Embeddings { get; }

    public bool UsesCuSeqlens => _blocks.TrueForAll(block => block.UsesCuSeqlens);

    /// <summary>Ids [B, T] to normed states [B, T, D]; the inputs of the blocks, and the result, go to <paramref name="hidden"/> if it is there.</summary>
    public Tensor Forward(Tensor ids, ForwardOptions options, bool isCheckpointed, List<Tensor>? hidden)
    {
        Tensor[] streams = [Embeddings.Forward(ids)];
        for (var i = 0; i < _blocks.Count; i++)
        {
            var (block, input) = (_blocks[i], streams);
            var context = new MixerContext
            {
                Mode = options.Mode, CuSeqlens = options.CuSeqlens, Mask = options.Mask, Offsets = options.Offsets, Cache = options.Cache?[i],
            };
            streams = isCheckpointed ? Autograd.Checkpoint(inputs => block.Forward(inputs, context), input) : block.Forward(input, context);
            hidden?.Add(input[0]);
            Drop(input, streams, hidden);
        }
        var y = _residual?.Forward([.. streams[1..], streams[0]], _norm) ?? _norm.Forward(streams[0]);
        hidden?.Add(y);
        Drop(streams, [], hidden: null);
        return y;
    }

    /// <summary>Frees streams that nothing refers to but the tape.</summary>
    private static void Drop(Tensor[] used, Tensor[] kept, List<Tensor>? hidden)
    {
        foreach (var stream in used)
        {
            if (!kept.Contains(stream) && hidden?[^1] != stream) stream.Dispose();
        }
    }
}
