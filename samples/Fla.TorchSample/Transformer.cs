using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.TorchSample;

/// <summary>A decoder-only transformer of TorchSharp's own modules; what mixes the tokens is the caller's.</summary>
internal sealed class Transformer : nn.Module<Tensor, Tensor>
{
    private const int MaxLength = 128;

    private readonly Embedding tokens;
    private readonly Embedding positions;
    private readonly Sequential blocks;
    private readonly nn.Module<Tensor, Tensor> head;

    public Transformer(int vocabSize, int width, int layers, Func<nn.Module<Tensor, Tensor>> attention)
        : base(nameof(Transformer))
    {
        tokens = nn.Embedding(vocabSize, width);
        positions = nn.Embedding(MaxLength, width);
        blocks = nn.Sequential(Enumerable.Range(0, layers).Select(i => ($"block{i}", (nn.Module<Tensor, Tensor>)new Block(width, attention()))));
        head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, vocabSize));
        RegisterComponents();
    }

    public override Tensor forward(Tensor ids) => head.call(blocks.call(tokens.call(ids) + positions.call(torch.arange(ids.shape[1]))));
}

/// <summary>x + attention(norm(x)), then x + mlp(norm(x)).</summary>
internal sealed class Block : nn.Module<Tensor, Tensor>
{
    private readonly nn.Module<Tensor, Tensor> mixer;
    private readonly nn.Module<Tensor, Tensor> mlp;

    public Block(int width, nn.Module<Tensor, Tensor> attention)
        : base(nameof(Block))
    {
        mixer = nn.Sequential(nn.LayerNorm(width), attention);
        mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width));
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        x = x + mixer.call(x);
        return x + mlp.call(x);
    }
}

/// <summary>Causal softmax attention.</summary>
internal sealed class SoftmaxAttention : nn.Module<Tensor, Tensor>
{
    private readonly int heads;
    private readonly nn.Module<Tensor, Tensor> qkv;
    private readonly nn.Module<Tensor, Tensor> output;

    public SoftmaxAttention(int width, int heads)
        : base(nameof(SoftmaxAttention))
    {
        this.heads = heads;
        qkv = nn.Linear(width, 3 * width, hasBias: false);
        output = nn.Linear(width, width, hasBias: false);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        var parts = qkv.call(x).reshape(x.shape[0], x.shape[1], 3, heads, -1).permute(2, 0, 3, 1, 4);
        var o = nn.functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_casual: true);
        return output.call(o.transpose(1, 2).reshape(x.shape));
    }
}
