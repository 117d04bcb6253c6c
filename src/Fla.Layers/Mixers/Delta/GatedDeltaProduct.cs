using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>Settings of <see cref="GatedDeltaProduct"/>; defaults are fla's.</summary>
public sealed record GatedDeltaProductOptions : DeltaOptions
{
    /// <summary>Whether the normed output is multiplied by a gate.</summary>
    public bool UseOutputGate { get; init; } = true;

    /// <summary>Whether the memory decays.</summary>
    public bool UseForgetGate { get; init; } = true;

    /// <summary>Whether the steps reach 2, which lets the memory turn signs (Grazzi et al. 2024).</summary>
    public bool AllowNegEigval { get; init; } = true;

    /// <summary>Delta steps for each token, n.</summary>
    public int NumHouseholder { get; init; } = 2;

    /// <inheritdoc/>
    internal override void Check()
    {
        base.Check();
        if (NumHouseholder < 1) throw new ShapeException($"num_householder cannot be {NumHouseholder}");
    }
}

/// <summary>
/// DeltaProduct (Siems et al., "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder Products", 2025): n delta steps for each token,
/// S ← e^g S, then n times S ← S + k_j (β_j(v_j − Sᵀk_j))ᵀ, then o = K^(-1/2) Sᵀ q, with q and k of unit length.
/// </summary>
public sealed class GatedDeltaProduct : HeadGatedDeltaMixer
{
    private readonly GatedDeltaProductOptions _options;

    /// <summary>A layer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    public GatedDeltaProduct(ComputeDevice device, GatedDeltaProductOptions options, DType dtype = DType.Float32)
        : base(device, options, dtype)
    {
        _options = options;
        var n = options.NumHouseholder;
        if (options.UseForgetGate) AddRate();
        AddProjections(options.KeyDim, n * options.KeyDim, n * options.ValueDim);
        AddSteps(n);
        if (options.UseForgetGate) AddDecay();
        AddGatedOutput(options.UseOutputGate ? NormGate.Swish : null);
    }

    /// <inheritdoc/>
    protected override Tensor Mix(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var (q, k, v) = ProjectActivated(input);
        var beta = Activations.Sigmoid(RawBeta(input));
        if (_options.AllowNegEigval) beta = Elementwise.Scale(beta, 2);
        var g = LogDecay(input);

        // The steps of a token lie side by side, its heads within each: they become rows of their own.
        var (rows, steps) = (q.Size(0), q.Size(1) * _options.NumHouseholder);
        q = Rows.RepeatHeads(Heads(q, _options.HeadDim), _options.Groups);
        k = Rows.RepeatHeads(k.View(rows, steps, -1, _options.HeadDim), _options.Groups);
        v = v.View(rows, steps, -1, _options.HeadV);
        beta = beta.View(rows, steps, -1);

        var before = input.State(LayerCache.RecurrentState);
        var isKept = input.Cache != null;
        var (o, after) = input.Mode == AttnMode.FusedRecurrent
            ? DeltaOps.FusedRecurrentGatedDeltaProduct(q, k, v, g, beta, _options.NumHouseholder, initialState: before, outputFinalState: isKept,
                useQkL2NormInKernel: true, cuSeqlens: input.CuSeqlens, finalState: input.StateInPlace(LayerCache.RecurrentState))
            : DeltaOps.ChunkGatedDeltaProduct(q, k, v, g, beta, _options.NumHouseholder, initialState: before, outputFinalState: isKept,
                useQkL2NormInKernel: true, cuSeqlens: input.CuSeqlens);
        input.Store(LayerCache.RecurrentState, after);
        return Output(input, o);
    }
}
