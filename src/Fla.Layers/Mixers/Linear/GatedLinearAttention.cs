using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>Settings of <see cref="GatedLinearAttention"/>; defaults are fla's.</summary>
public sealed record GatedLinearAttentionOptions : GatedHeadOptions
{
    /// <summary>fla's defaults.</summary>
    public GatedLinearAttentionOptions() => ExpandK = 0.5;

    /// <summary>Divisor of the log gates.</summary>
    public double GateLogitNormalizer { get; init; } = 16;

    /// <summary>Width between the gate's two projections.</summary>
    public int GateLowRankDim { get; init; } = 16;

    /// <summary>Lower bound of the log gates (natural logarithm), or null.</summary>
    public double? ClampMin { get; init; }
}

/// <summary>
/// Gated linear attention (Yang et al., "Gated Linear Attention Transformers with Hardware-Efficient Training", 2023):
/// S ← diag(e^gk) S + k vᵀ, o = K^(-1/2) Sᵀ q, gk = logσ(W₂W₁x + b)/16. The mode fused_chunk, which fla took away from this operator, runs as chunk.
/// </summary>
public sealed class GatedLinearAttention : GatedHeadMixer
{
    private readonly GatedLinearAttentionOptions _options;
    private readonly Linear _gateDown;
    private readonly Linear _gateUp;

    /// <summary>A layer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    public GatedLinearAttention(ComputeDevice device, GatedLinearAttentionOptions options, DType dtype = DType.Float32)
        : base(device, options, dtype)
    {
        _options = options;
        AddGateAndConvolutions();
        _gateDown = AddModule("gk_proj.0", () => new Linear(device, HiddenSize, options.GateLowRankDim, dtype: dtype));
        _gateUp = AddModule("gk_proj.1", () => new Linear(device, options.GateLowRankDim, options.KeyDim / options.Groups, hasBias: true, dtype: dtype));
        AddOutput();
    }

    /// <inheritdoc/>
    protected override Tensor Mix(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var (q, k, v) = ProjectHeads(input);
        var gate = new LowRankGate(input.Project(_gateDown), _gateUp.Weight, _gateUp.Bias!, (float)_options.GateLogitNormalizer);
        (q, k, v) = (MapFeatures(q), MapFeatures(RepeatGroups(k)), RepeatGroups(v));

        var (o, after) = input.Mode == AttnMode.FusedRecurrent && gate.IsTaken && _options is { ClampMin: null, Groups: 1 }
            ? LinearOps.FusedRecurrentGla(q, k, v, gate, initialState: input.State(LayerCache.RecurrentState), outputFinalState: input.Cache != null, stateVFirst: true,
                cuSeqlens: input.CuSeqlens, finalState: input.StateInPlace(LayerCache.RecurrentState))
            : Mix(input, q, k, v, gate);
        input.Store(LayerCache.RecurrentState, after);
        return Output(o, input);
    }

    /// <summary>With the gates made before the operator.</summary>
    private (Tensor O, Tensor? After) Mix(MixerInput input, Tensor q, Tensor k, Tensor v, LowRankGate gate)
    {
        var gk = Activations.LogSigmoid(_gateUp.Forward(gate.Input), gate.Normalizer);
        if (_options.ClampMin is { } minimum) gk = Elementwise.ClampMin(gk, (float)minimum);
        gk = RepeatGroups(Heads(gk, _options.HeadK));
        var before = input.State(LayerCache.RecurrentState);
        var isKept = input.Cache != null;
        return input.Mode == AttnMode.FusedRecurrent
            ? LinearOps.FusedRecurrentGla(q, k, v, gk, initialState: before, outputFinalState: isKept, stateVFirst: true, cuSeqlens: input.CuSeqlens,
                finalState: input.StateInPlace(LayerCache.RecurrentState))
            : LinearOps.ChunkGla(q, k, v, gk, initialState: before, outputFinalState: isKept, stateVFirst: true, cuSeqlens: input.CuSeqlens);
    }
}
