using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>Settings of <see cref="SimpleGatedLinearAttention"/>; defaults are fla's.</summary>
public sealed record SimpleGatedLinearAttentionOptions : GatedHeadOptions
{
    /// <summary>fla's defaults.</summary>
    public SimpleGatedLinearAttentionOptions() => UseShortConv = true;

    /// <summary>Divisor of the log gates.</summary>
    public double GateLogitNormalizer { get; init; } = 16;
}

/// <summary>
/// Linear attention with one gate for each head: S ← e^g S + k vᵀ, o = K^(-1/2) Sᵀ q, g = logσ(Wx + b)/16 (the mixer of Mamba-2 as Yang et al. write it).
/// Padding is multiplied away, so it must be on the left.
/// </summary>
public sealed class SimpleGatedLinearAttention : GatedHeadMixer
{
    private readonly SimpleGatedLinearAttentionOptions _options;
    private readonly Linear _gate;

    /// <summary>A layer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings; the output gate is always there.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    /// <exception cref="ArgumentException">No output gate.</exception>
    public SimpleGatedLinearAttention(ComputeDevice device, SimpleGatedLinearAttentionOptions options, DType dtype = DType.Float32)
        : base(device, Check(options), dtype)
    {
        _options = options;
        AddGateAndConvolutions();
        _gate = AddModule("gk_proj", () => new Linear(device, HiddenSize, options.NumHeads, hasBias: true, dtype: dtype));
        AddOutput();
    }

    private static SimpleGatedLinearAttentionOptions Check(SimpleGatedLinearAttentionOptions options) =>
        options.UseOutputGate ? options : throw new ArgumentException("SimpleGatedLinearAttention always has its output gate", nameof(options));

    /// <inheritdoc/>
    protected override bool DropsPadding => false;

    /// <inheritdoc/>
    protected override Tensor Mix(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var (q, k, v) = ProjectHeads(input);
        var g = Activations.LogSigmoid(input.Project(_gate), (float)_options.GateLogitNormalizer);
        (q, k) = (MapFeatures(q), MapFeatures(RepeatGroups(k)));
        v = RepeatGroups(input.Padding?.Mask(v) ?? v);

        var before = input.State(LayerCache.RecurrentState);
        var isKept = input.Cache != null;
        var (o, after) = input.Mode switch
        {
            AttnMode.FusedRecurrent => LinearOps.FusedRecurrentSimpleGla(q, k, v, g, initialState: before, outputFinalState: isKept, cuSeqlens: input.CuSeqlens,
                finalState: input.StateInPlace(LayerCache.RecurrentState)),
            AttnMode.FusedChunk => LinearOps.FusedChunkSimpleGla(q, k, v, g, initialState: before, outputFinalState: isKept, cuSeqlens: input.CuSeqlens),
            _ => LinearOps.ChunkSimpleGla(q, k, v, g, initialState: before, outputFinalState: isKept, cuSeqlens: input.CuSeqlens),
        };
        input.Store(LayerCache.RecurrentState, after);
        return Output(o, input);
    }
}
