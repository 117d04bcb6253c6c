using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>Settings of <see cref="GatedDeltaNet2"/>; defaults are fla's.</summary>
public sealed record GatedDeltaNet2Options : DeltaOptions
{
    private const double LeastBound = -5;

    /// <summary>fla's defaults.</summary>
    public GatedDeltaNet2Options() => (NumHeads, HeadDim, ExpandV) = (16, 128, 1);

    /// <summary>Whether the erase gates reach 2, which lets the memory turn signs (Grazzi et al. 2024).</summary>
    public bool AllowNegEigval { get; init; }

    /// <summary>Whether the decays are sigmoids above <see cref="GateLowerBound"/>; else they are unbounded.</summary>
    public bool SafeGate { get; init; }

    /// <summary>Least log decay with <see cref="SafeGate"/>, from −5 to below 0.</summary>
    public double GateLowerBound { get; init; } = LeastBound;

    /// <inheritdoc/>
    internal override void Check()
    {
        base.Check();
        if (!(GateLowerBound is >= LeastBound and < 0)) throw new ArgumentException($"gate_lower_bound {GateLowerBound} is not from {LeastBound} to below 0");
    }
}

/// <summary>
/// Gated DeltaNet 2 (NVIDIA, "Gated DeltaNet-2: Decoupling Erase and Write in Linear Attention", 2025): S ← diag(e^g) S, S ← S + k (w ⊙ v − Sᵀ(b ⊙ k))ᵀ,
/// o = K^(-1/2) Sᵀ q, with q and k of unit length, a decay g and an erase gate b for each key channel and a write gate w for each value channel.
/// </summary>
public sealed class GatedDeltaNet2 : ChannelGatedDeltaMixer
{
    private readonly GatedDeltaNet2Options _options;
    private readonly Linear _erase;
    private readonly Linear _write;

    /// <summary>A layer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    /// <exception cref="ArgumentException">A bound out of range.</exception>
    public GatedDeltaNet2(ComputeDevice device, GatedDeltaNet2Options options, DType dtype = DType.Float32)
        : base(device, options, dtype)
    {
        _options = options;
        AddDecayAndQkv(options.NumHeads, options.SafeGate);
        _erase = AddModule("b_proj", () => new Linear(device, HiddenSize, options.KeyDim, dtype: dtype));
        _write = AddModule("w_proj", () => new Linear(device, HiddenSize, options.ValueDim, dtype: dtype));
        AddGatedOutput();
    }

    /// <inheritdoc/>
    protected override Tensor Mix(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var (q, k, v) = ProjectActivated(input);
        var b = Activations.Sigmoid(input.Project(_erase));
        if (_options.AllowNegEigval) b = Elementwise.Scale(b, 2);
        var w = Heads(Activations.Sigmoid(input.Project(_write)), _options.HeadV);
        var g = RawDecay(input);
        v = Heads(v, _options.HeadV);
        (q, k, g, b) = (Repeat(q), Repeat(k), Repeat(g), Repeat(b));
        // A group's value heads share what its gate has learned.
        var aLog = _options.Groups == 1 ? Rate.ALog : Rows.RepeatHeads(Rate.ALog.View(1, 1, -1, 1), _options.Groups).View(-1);
        var dtBias = _options.Groups == 1 ? Rate.DtBias : Rows.RepeatHeads(Rate.DtBias.View(1, 1, -1, _options.HeadDim), _options.Groups).View(-1);

        var before = input.State(LayerCache.RecurrentState);
        var isKept = input.Cache != null;
        float? bound = _options.SafeGate ? (float)_options.GateLowerBound : null;
        var (o, after) = input.Mode == AttnMode.FusedRecurrent
            ? DeltaOps.FusedRecurrentGdn2(q, k, v, g, b, w, initialState: before, outputFinalState: isKept, useQkL2NormInKernel: true, useGateInKernel: true,
                aLog: aLog, dtBias: dtBias, lowerBound: bound, cuSeqlens: input.CuSeqlens, finalState: input.StateInPlace(LayerCache.RecurrentState))
            : DeltaOps.ChunkGdn2(q, k, v, g, b, w, initialState: before, outputFinalState: isKept, useQkL2NormInKernel: true, useGateInKernel: true,
                aLog: aLog, dtBias: dtBias, lowerBound: bound, cuSeqlens: input.CuSeqlens);
        input.Store(LayerCache.RecurrentState, after);
        return Output(input, o);
    }

    private Tensor Repeat(Tensor x)
    {
        var heads = Heads(x, _options.HeadDim);
        return _options.Groups == 1 ? heads : Rows.RepeatHeads(heads, _options.Groups);
    }
}
