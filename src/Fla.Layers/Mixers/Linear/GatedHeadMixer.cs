using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>
/// What GLA, retention and SimpleGLA share: key and value heads shared by groups of query heads, and an output that is normed per head, gated and projected.
/// </summary>
public abstract class GatedHeadMixer : QkvMixer
{
    private readonly GatedHeadOptions _options;
    private Linear? _g;
    private Linear? _o;
    private FusedRmsNormGated? _fusedNorm;
    private RmsNorm? _norm;

    /// <summary>Makes the projections of q, k, v.</summary>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    protected GatedHeadMixer(ComputeDevice device, GatedHeadOptions options, DType dtype)
        : base(device, options, dtype)
    {
        _options = options;
        AddProjections(options.KeyDim, options.KeyDim / options.Groups, options.ValueDim / options.Groups);
    }

    /// <summary>Makes the output gate's projection and the convolutions.</summary>
    protected void AddGateAndConvolutions()
    {
        if (_options.UseOutputGate) _g = AddModule("g_proj", () => new Linear(Device, HiddenSize, _options.ValueDim, dtype: DType));
        if (_options.UseShortConv) AddConvolutions(_options.ConvSize, _options.ConvBias);
    }

    /// <summary>Makes the output projection and the norm.</summary>
    protected void AddOutput()
    {
        _o = AddModule("o_proj", () => new Linear(Device, _options.ValueDim, HiddenSize, dtype: DType));
        var isFused = _options is { UseOutputGate: true, FuseNorm: true, GateFn: "swish" or "silu" };
        var (width, eps, isAffine) = (_options.HeadV, _options.NormEps, _options.ElementwiseAffine);
        if (isFused) _fusedNorm = AddModule("g_norm_swish_gate", () => new FusedRmsNormGated(Device, width, eps, isAffine, dtype: DType));
        else _norm = AddModule("g_norm", () => new RmsNorm(Device, width, eps, isAffine, DType));
    }

    /// <summary>q [B, T, H, K], k [B, T, H/G, K] and v [B, T, H/G, V], after the convolutions.</summary>
    protected (Tensor Q, Tensor K, Tensor V) ProjectHeads(MixerInput input)
    {
        var (q, k, v) = Project(input);
        return (Heads(q, _options.HeadK), Heads(k, _options.HeadK), Heads(v, _options.HeadV));
    }

    /// <summary>Each head of [B, T, H/G, ...] G times in a row.</summary>
    protected Tensor RepeatGroups(Tensor x) => _options.Groups == 1 ? x : Rows.RepeatHeads(x, _options.Groups);

    /// <summary>The named activation on q or k, if there is one.</summary>
    protected Tensor MapFeatures(Tensor x) => _options.FeatureMap is { } name ? Activations.Apply(name, x) : x;

    /// <summary>Norm per head, gate, projection: o [B, T, H, V] to [B, T, D].</summary>
    protected Tensor Output(Tensor o, MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(o);
        ArgumentNullException.ThrowIfNull(input);
        if (_fusedNorm != null) return input.Finish(_o!, _fusedNorm, o, input.Project(_g!));
        var y = _norm!.Forward(o);
        if (_g != null) y = Elementwise.Mul(y, Activations.Apply(_options.GateFn, Heads(input.Project(_g), _options.HeadV)));
        return input.Finish(_o!, y.View(o.Size(0), o.Size(1), _options.ValueDim));
    }
}
