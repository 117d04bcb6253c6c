using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>Settings of <see cref="MultiScaleRetention"/>; defaults are fla's.</summary>
public sealed record MultiScaleRetentionOptions : GatedHeadOptions
{
    /// <summary>fla's defaults.</summary>
    public MultiScaleRetentionOptions()
    {
        ExpandV = 2;
        NumHeads = 8;
    }
}

/// <summary>
/// Retention (Sun et al., "Retentive Network", 2023): S ← γ_h S + k vᵀ, o = K^(-1/2) Sᵀ q, γ_h = 1 − 2^(−5−h), with rotary positions on q and k.
/// </summary>
public sealed class MultiScaleRetention : GatedHeadMixer
{
    private readonly RotaryEmbedding _rotary;

    /// <summary>A layer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    public MultiScaleRetention(ComputeDevice device, MultiScaleRetentionOptions options, DType dtype = DType.Float32)
        : base(device, options, dtype)
    {
        AddGateAndConvolutions();
        AddOutput();
        _rotary = AddModule("rotary", () => new RotaryEmbedding(device, options.HeadK));
    }

    /// <inheritdoc/>
    protected override Tensor Mix(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var (q, k, v) = ProjectHeads(input);
        q = _rotary.Forward(MapFeatures(q), input);
        k = RepeatGroups(_rotary.Forward(MapFeatures(k), input));
        v = RepeatGroups(v);

        var before = input.State(LayerCache.RecurrentState);
        var isKept = input.Cache != null;
        var (o, after) = input.Mode switch
        {
            AttnMode.FusedRecurrent => LinearOps.FusedRecurrentRetention(q, k, v, initialState: before, outputFinalState: isKept, cuSeqlens: input.CuSeqlens,
                finalState: input.StateInPlace(LayerCache.RecurrentState)),
            AttnMode.FusedChunk => LinearOps.FusedChunkRetention(q, k, v, initialState: before, outputFinalState: isKept, cuSeqlens: input.CuSeqlens),
            _ => LinearOps.ChunkRetention(q, k, v, initialState: before, outputFinalState: isKept, cuSeqlens: input.CuSeqlens),
        };
        input.Store(LayerCache.RecurrentState, after);
        return Output(o, input);
    }
}
