using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>
/// What Kimi delta attention and Gated DeltaNet 2 share: a decay for each key channel and a gate of the output, each projected through a narrow middle. Each adds
/// the parts in fla's order of parameters.
/// </summary>
public abstract class ChannelGatedDeltaMixer : DeltaMixer
{
    private readonly DeltaOptions _options;
    private Tensor? _aLog;
    private Tensor? _dtBias;
    private Linear? _decayDown;
    private Linear? _decayUp;
    private Linear? _gateDown;
    private Linear? _gateUp;

    /// <summary>A mixer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    protected ChannelGatedDeltaMixer(ComputeDevice device, DeltaOptions options, DType dtype)
        : base(device, options, dtype) => _options = options;

    /// <summary>Rate [gate heads] and bias [gate heads · K] of the decay.</summary>
    protected (Tensor ALog, Tensor DtBias) Rate => (_aLog!, _dtBias!);

    /// <summary>Makes rate and bias of the decay, q, k and v with their convolutions, and the projection to the decay.</summary>
    /// <param name="heads">Heads that have a decay of their own.</param>
    /// <param name="isBounded">Whether the decays are sigmoids.</param>
    protected void AddDecayAndQkv(int heads, bool isBounded)
    {
        var decays = heads * _options.HeadDim;
        _aLog = AddParameter("A_log", isBounded ? WeightRules.Zero : WeightRules.LogUniform(1, 16), heads);
        _dtBias = AddParameter("dt_bias", WeightRules.InverseSoftplusOfStep, decays);
        AddProjections(_options.KeyDim, _options.KeyDim, _options.ValueDim);
        if (_options.UseShortConv) AddConvolutions(_options.ConvSize, _options.ConvBias);
        _decayDown = AddModule("f_proj.0", () => new Linear(Device, HiddenSize, _options.HeadV, dtype: DType));
        _decayUp = AddModule("f_proj.1", () => new Linear(Device, _options.HeadV, decays, dtype: DType));
    }

    /// <summary>Makes the output gate, the norm and the output projection.</summary>
    protected void AddGatedOutput()
    {
        _gateDown = AddModule("g_proj.0", () => new Linear(Device, HiddenSize, _options.HeadV, dtype: DType));
        _gateUp = AddModule("g_proj.1", () => new Linear(Device, _options.HeadV, _options.ValueDim, hasBias: true, dtype: DType));
        AddOutput(_options.ValueHeads, _options.HeadV, _options.NormEps, NormGate.Sigmoid);
    }

    /// <summary>The decay before its activation [B, T, gate heads · K].</summary>
    protected Tensor RawDecay(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        return _decayUp!.Forward(input.Project(_decayDown!));
    }

    /// <summary>Norm per head, gate, projection.</summary>
    /// <returns>[B, T, D].</returns>
    protected Tensor Output(MixerInput input, Tensor o)
    {
        ArgumentNullException.ThrowIfNull(input);
        return Output(input, o, _gateUp!.Forward(input.Project(_gateDown!)));
    }
}
