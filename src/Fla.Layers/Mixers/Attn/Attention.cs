using System.Numerics;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>Settings of <see cref="Attention"/>; defaults are fla's.</summary>
public sealed record AttentionOptions : MixerOptions
{
    /// <summary>Query heads, H; D is a multiple of it.</summary>
    public int NumHeads { get; init; } = 32;

    /// <summary>Key and value heads, a divisor of H; null for H.</summary>
    public int? NumKvHeads { get; init; }

    /// <summary>Whether q, k and v have biases.</summary>
    public bool QkvBias { get; init; }

    /// <summary>Whether queries and keys are normed per head.</summary>
    public bool QkNorm { get; init; }

    /// <summary>Keys that a query sees, its own included; null for all before it.</summary>
    public int? WindowSize { get; init; }

    /// <summary>Base of the rotary embedding.</summary>
    public double RopeTheta { get; init; } = 10000;

    /// <summary>Width of a head.</summary>
    internal int HeadDim => HiddenSize / NumHeads;

    /// <summary>Width of all key heads.</summary>
    internal int KvDim => (NumKvHeads ?? NumHeads) * HeadDim;

    /// <inheritdoc/>
    internal override void Check()
    {
        if (HiddenSize < 1 || NumHeads < 1 || HiddenSize % NumHeads != 0) throw new ShapeException($"{NumHeads} heads do not divide hidden_size {HiddenSize}");
        if (NumKvHeads is { } kv && (kv < 1 || NumHeads % kv != 0)) throw new ShapeException($"{kv} key heads do not divide {NumHeads} query heads");
        if (HeadDim % 2 != 0 || HeadDim > MostChannels) throw new ShapeException($"heads of {HeadDim} channels: rotary positions need an even number up to {MostChannels}");
        if (WindowSize is <= 0) throw new ShapeException($"window_size cannot be {WindowSize}");
    }

    private const int MostChannels = 256;
}

/// <summary>
/// Causal softmax attention (Vaswani et al. 2017) with rotary positions, shared key heads and a window: the layers in between of hybrid models. With a cache, keys
/// and values of earlier tokens are kept: of a window's, or of all.
/// </summary>
public sealed class Attention : TokenMixer
{
    private const double QkNormEps = 1e-5;
    private const string Keys = "attn_state.k", Values = "attn_state.v", Lengths = "attn_state.length";

    /// <summary>Tokens that are taken at once behind a full window.</summary>
    private const int Block = 64;

    private readonly AttentionOptions _options;
    private readonly Linear _q;
    private readonly Linear _k;
    private readonly Linear _v;
    private readonly Linear _o;
    private readonly RmsNorm? _qNorm;
    private readonly RmsNorm? _kNorm;

    /// <summary>A layer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    public Attention(ComputeDevice device, AttentionOptions options, DType dtype = DType.Float32)
        : base(device, options, dtype)
    {
        _options = options;
        Linear Projection(int width) => new(device, HiddenSize, width, options.QkvBias, dtype: dtype);
        _q = AddModule("q_proj", () => Projection(HiddenSize));
        _k = AddModule("k_proj", () => Projection(options.KvDim));
        _v = AddModule("v_proj", () => Projection(options.KvDim));
        _o = AddModule("o_proj", () => new Linear(device, HiddenSize, HiddenSize, dtype: dtype));
        if (!options.QkNorm) return;
        _qNorm = AddModule("q_norm", () => new RmsNorm(device, options.HeadDim, QkNormEps, dtype: dtype));
        _kNorm = AddModule("k_norm", () => new RmsNorm(device, options.HeadDim, QkNormEps, dtype: dtype));
    }

    /// <inheritdoc/>
    protected override Tensor Mix(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var lengths = input.State(Lengths);
        Tensor Turned(Linear projection, RmsNorm? norm)
        {
            var x = Heads(input.Project(projection), _options.HeadDim);
            return Rotary.Apply(norm?.Forward(x) ?? x, (float)_options.RopeTheta, offsets: lengths ?? input.Context.Offsets, cuSeqlens: input.CuSeqlens);
        }

        var (q, k, v) = (Turned(_q, _qNorm), Turned(_k, _kNorm), Heads(input.Project(_v), _options.HeadDim));
        var o = lengths is null ? First(input, q, k, v) : Next(input, lengths, q, k, v);
        return input.Finish(_o, o.View(o.Size(0), o.Size(1), -1));
    }

    /// <summary>Nothing came before.</summary>
    private Tensor First(MixerInput input, Tensor q, Tensor k, Tensor v)
    {
        if (input.Cache is { } cache)
        {
            int sequences = input.Sequences, heads = k.Size(2);
            // A window's keys, and room for a block of new ones that see the oldest of them, are a ring.
            var limit = _options.WindowSize is { } window ? (int)Math.Min(int.MaxValue, (long)window + Block - 1) : int.MaxValue;
            var capacity = Math.Min(limit, Math.Max(Block, (int)BitOperations.RoundUpToPowerOf2((uint)q.Size(1))));
            using var lengths = Tensor.Zeros(Device, DType.Int32, sequences);
            foreach (var (slot, x) in new[] { (Keys, k), (Values, v) })
            {
                using var ring = Tensor.Zeros(Device, DType, sequences, capacity, heads, _options.HeadDim);
                AttnOps.RingAppendStep(x, ring, lengths, input.CuSeqlens);
                cache.SetGrowing(slot, ring, limit);
            }
            AttnOps.LengthsStep(lengths, q.Size(1), input.CuSeqlens);
            cache.Set(Lengths, lengths);
        }
        return AttnOps.ParallelAttn(q, k, v, windowSize: _options.WindowSize, cuSeqlens: input.CuSeqlens);
    }

    /// <summary>Earlier tokens are in the cache. Behind a full window there is room for a block at a time.</summary>
    private Tensor Next(MixerInput input, Tensor lengths, Tensor q, Tensor k, Tensor v)
    {
        var cache = input.Cache!;
        cache.Reserve(input.Length);
        var (keys, values) = (input.State(Keys)!, input.State(Values)!);
        var tokens = q.Size(1);
        if (tokens <= Block || _options.WindowSize is null)
        {
            var all = AttnOps.AttnDecodingStep(q, k, v, keys, values, lengths, windowSize: _options.WindowSize, cuSeqlens: input.CuSeqlens);
            AttnOps.LengthsStep(lengths, tokens, input.CuSeqlens);
            return all;
        }
        if (input.CuSeqlens != null) throw new ShapeException($"windowed attention over a cache takes packed sequences of {Block} tokens in all at a time, not {tokens}");
        var parts = new List<Tensor>();
        for (var first = 0; first < tokens; first += Block)
        {
            var count = Math.Min(Block, tokens - first);
            Tensor Part(Tensor x) => Layouts.Slice(x, 1, first, count);
            parts.Add(AttnOps.AttnDecodingStep(Part(q), Part(k), Part(v), keys, values, lengths, windowSize: _options.WindowSize));
            AttnOps.LengthsStep(lengths, count);
        }
        return Layouts.Concat(1, [.. parts]);
    }
}
