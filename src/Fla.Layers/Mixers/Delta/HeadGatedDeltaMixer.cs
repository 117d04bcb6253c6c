using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>
/// What Gated DeltaNet, Gated DeltaProduct and Comba share: a decay and a step for each value head, made from the input, and a gate of the output. Each adds the
/// parts in fla's order of parameters.
/// </summary>
public abstract class HeadGatedDeltaMixer : DeltaMixer
{
    private readonly DeltaOptions _options;
    private Tensor? _aLog;
    private Tensor? _dtBias;
    private Linear? _decay;
    private Linear? _beta;
    private Linear? _gate;

    /// <summary>A mixer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    protected HeadGatedDeltaMixer(ComputeDevice device, DeltaOptions options, DType dtype)
        : base(device, options, dtype) => _options = options;

    /// <summary>Rate and bias of the decay [HV].</summary>
    protected (Tensor ALog, Tensor DtBias) Rate => (_aLog!, _dtBias!);

    /// <summary>Makes rate and bias of the decay.</summary>
    protected void AddRate()
    {
        _aLog = AddParameter("A_log", WeightRules.LogUniform(0, 16), _options.ValueHeads);
        _dtBias = AddParameter("dt_bias", WeightRules.InverseSoftplusOfStep, _options.ValueHeads);
    }

    /// <summary>Makes the projection to the decay.</summary>
    protected void AddDecay() => _decay = AddModule("a_proj", () => Projection(_options.ValueHeads));

    /// <summary>Makes the projection to the steps.</summary>
    /// <param name="count">Steps of a token.</param>
    protected void AddSteps(int count = 1) => _beta = AddModule("b_proj", () => Projection(count * _options.ValueHeads));

    /// <summary>Makes the convolutions, the output gate, the norm and the output projection.</summary>
    /// <param name="gate">Activation of the gate; null for no gate.</param>
    protected void AddGatedOutput(NormGate? gate)
    {
        if (_options.UseShortConv) AddConvolutions(_options.ConvSize, _options.ConvBias);
        if (gate != null) _gate = AddModule("g_proj", () => Projection(_options.ValueDim));
        AddOutput(_options.ValueHeads, _options.HeadV, _options.NormEps, gate);
    }

    /// <summary>The decay before its activation [B, T, HV].</summary>
    protected Tensor RawDecay(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        return input.Project(_decay!);
    }

    /// <summary>The log decay −e^A_log · softplus(x + dt_bias) in fp32 [B, T, HV]; null where the memory does not decay.</summary>
    protected Tensor? LogDecay(MixerInput input) => _decay is null ? null : DeltaOps.GdnGate(RawDecay(input), _aLog!, _dtBias);

    /// <summary>The steps before their sigmoid [B, T, count · HV].</summary>
    protected Tensor RawBeta(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        return input.Project(_beta!);
    }

    /// <summary>Norm per head, gate, projection.</summary>
    /// <returns>[B, T, D].</returns>
    protected Tensor Output(MixerInput input, Tensor o)
    {
        ArgumentNullException.ThrowIfNull(input);
        return Output(input, o, input.Project(_gate));
    }

    private Linear Projection(int width) => new(Device, HiddenSize, width, dtype: DType);
}
