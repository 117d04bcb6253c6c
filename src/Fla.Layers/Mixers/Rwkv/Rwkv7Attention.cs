using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>
/// RWKV-7's time mixing (Peng et al., "RWKV-7 Goose with Expressive Dynamic State Evolution", 2025):
/// S ← diag(e^w) S − (κ ⊙ a)(κᵀS)ᵀ + k vᵀ with S on the right the memory before its decay, o = Sᵀ r. Each of r, w, k, v, a and the output gate g comes from a
/// mixture of its own of a token with the one before; layers above the first mix the first one's values into theirs. Padding is multiplied away, so it must be
/// on the left.
/// </summary>
public sealed class Rwkv7Attention : TokenMixer
{
    /// <summary>Slot of the last input of each sequence.</summary>
    private const string ShiftSlot = "conv_state";

    /// <summary>Log decays lie between minus this, e^(−1/2), and 0.</summary>
    private const float DecayRange = 0.6065306597126334f;

    /// <summary>The square below which a removal key counts as 0 where norms are not fused: torch clamps lengths at 1e-12.</summary>
    private const float TinySquare = 1e-24f;

    private readonly Rwkv7AttentionOptions _options;
    private readonly Tensor _xR;
    private readonly Tensor _xW;
    private readonly Tensor _xK;
    private readonly Tensor _xV;
    private readonly Tensor _xA;
    private readonly Tensor _xG;
    private readonly Tensor _kK;
    private readonly Tensor _kA;
    private readonly Tensor _rK;
    private readonly Linear _r;
    private readonly Linear _k;
    private readonly Linear _v;
    private readonly Linear _o;
    private readonly LowRank _w;
    private readonly LowRank? _vMix;
    private readonly LowRank _a;
    private readonly LowRank _g;
    private readonly GroupNorm _norm;

    /// <summary>A layer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    public Rwkv7Attention(ComputeDevice device, Rwkv7AttentionOptions options, DType dtype = DType.Float32)
        : base(device, options, dtype)
    {
        _options = options;
        var start = new Rwkv7Start(options);
        _xR = Mixture("x_r", 0.2);
        _xW = Mixture("x_w", 0.9);
        _xK = Mixture("x_k", 0.7);
        _xV = Mixture("x_v", 0.7);
        _xA = Mixture("x_a", 0.9);
        _xG = Mixture("x_g", 0.2);
        _kK = AddParameter("k_k", start.RemovalKey, HiddenSize);
        _kA = AddParameter("k_a", WeightRules.Constant(1.02f), HiddenSize);
        _rK = AddParameter("r_k", WeightRules.Constant(-0.04f), options.Heads, options.HeadK);
        var (d, values) = (HiddenSize, options.Values);
        _r = AddModule("r_proj", () => new Linear(device, d, d, weightRule: WeightRules.Orthogonal(), dtype: dtype));
        _k = AddModule("k_proj", () => new Linear(device, d, d, weightRule: WeightRules.Orthogonal(0.1), dtype: dtype));
        _v = AddModule("v_proj", () => new Linear(device, d, values, weightRule: WeightRules.Orthogonal(), dtype: dtype));
        _o = AddModule("o_proj", () => new Linear(device, values, d, weightRule: start.Output, dtype: dtype));
        _w = AddModule("w_lora", () => new LowRank(device, d, d, options.DecayRank, Activations.Tanh, start.Decay, dtype));
        if (options.LayerIdx != 0) _vMix = AddModule("v_lora", () => new LowRank(device, d, values, options.ValueRank, biasRule: start.ValueMix, dtype: dtype));
        _a = AddModule("a_lora", () => new LowRank(device, d, d, options.LearningRank, biasRule: start.LearningRate, dtype: dtype));
        _g = AddModule("g_lora", () => new LowRank(device, d, values, options.GateRank, Activations.Sigmoid, dtype: dtype));
        _norm = AddModule("g_norm", () =>
            new GroupNorm(device, options.Heads, values, options.HeadK * options.NormEps, options.ElementwiseAffine, start.Norm, dtype));

        Tensor Mixture(string name, double power) => AddParameter(name, start.Mixture(power), 1, 1, HiddenSize);
    }

    /// <inheritdoc/>
    protected override bool DropsPadding => false;

    /// <summary>Mixes tokens.</summary>
    /// <param name="x">[B, T, D].</param>
    /// <param name="vFirst">Values of the first layer [B, T, value_dim], which a layer of index 0 makes and all others need.</param>
    /// <param name="context">Packing, padding, cache.</param>
    /// <returns>o [B, T, D], and the values of the first layer.</returns>
    /// <exception cref="ShapeException">Another shape, or a packing, mask or cache that does not fit it.</exception>
    /// <exception cref="DTypeException">Another float type than the layer's.</exception>
    /// <exception cref="ArgumentNullException">A layer above the first got no values of the first.</exception>
    public (Tensor O, Tensor VFirst) Forward(Tensor x, Tensor? vFirst, MixerContext? context = null)
    {
        using var scope = Device.Scope();
        var input = Begin(x, context);
        var (o, first) = Mix(input, vFirst);
        return (scope.Keep(End(input, o)), scope.Keep(first));
    }

    /// <inheritdoc/>
    protected override Tensor Mix(MixerInput input) => Mix(input, null).O;

    private (Tensor O, Tensor VFirst) Mix(MixerInput input, Tensor? vFirst)
    {
        ArgumentNullException.ThrowIfNull(input);
        var x = input.Padding?.Mask(input.X) ?? input.X;
        var (delta, last) = TokenShifts.TokenShift(x, input.CuSeqlens, input.State(ShiftSlot), input.Cache != null);
        input.Store(ShiftSlot, last);
        var mixed = Rwkv7Ops.FusedAddcmul(x, delta, _xR, _xW, _xK, _xV, _xA, _xG);
        var (xr, xw, xk, xv, xa, xg) = (mixed[0], mixed[1], mixed[2], mixed[3], mixed[4], mixed[5]);

        var r = Heads(_r.Forward(xr), _options.HeadK);
        var w = Heads(Elementwise.Scale(Activations.Sigmoid(_w.Forward(xw)), -DecayRange), _options.HeadK);
        var (k, v) = (_k.Forward(xk), _v.Forward(xv));
        if (_vMix == null) vFirst = v;
        else v = Lerp(v, Required(vFirst, v), Activations.Sigmoid(_vMix.Forward(xv)));
        var a = Activations.Sigmoid(_a.Forward(xa));
        var removal = Norms.L2Norm(Heads(Elementwise.Mul(k, _kK), _options.HeadK), _options.FuseNorm ? 1e-6f : TinySquare);
        k = Heads(Rwkv7Ops.FusedK(k, a, _kA), _options.HeadK);
        var (values, rates) = (Heads(input.Padding?.Mask(v) ?? v, _options.HeadV), Heads(a, _options.HeadK));

        var before = input.State(LayerCache.RecurrentState);
        var isKept = input.Cache != null;
        var (o, after) = input.Mode == AttnMode.FusedRecurrent
            ? DeltaOps.FusedMulRecurrentRwkv7(r, w, k, values, removal, rates, initialState: before, outputFinalState: isKept, cuSeqlens: input.CuSeqlens,
                finalState: input.StateInPlace(LayerCache.RecurrentState))
            : DeltaOps.ChunkRwkv7(r, w, k, values, Elementwise.Scale(removal, -1), Elementwise.Mul(removal, rates), initialState: before,
                outputFinalState: isKept, cuSeqlens: input.CuSeqlens);
        input.Store(LayerCache.RecurrentState, after);
        var normed = _norm.Forward(o.View(x.Size(0), x.Size(1), _options.Values));
        return (_o.Forward(Rwkv7Ops.GateOutputCorrection(normed, r, k, _rK, values, _g.Forward(xg))), vFirst!);
    }

    /// <summary>x + (y − x) t.</summary>
    private static Tensor Lerp(Tensor x, Tensor y, Tensor t) => Elementwise.Add(x, Elementwise.Mul(Elementwise.Add(y, x, 1, -1), t));

    private Tensor Required(Tensor? vFirst, Tensor v)
    {
        if (vFirst == null) throw new ArgumentNullException(nameof(vFirst), $"layer {_options.LayerIdx} needs the values of the first layer");
        if (!vFirst.Shape.SequenceEqual(v.Shape)) throw new ShapeException($"the first layer's values {vFirst.Describe()} do not fit {v.Describe()}");
        return vFirst;
    }
}
