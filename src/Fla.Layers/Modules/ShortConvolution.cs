using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>Depthwise causal convolution over time, y_t[c] = act(Σ_w weight[c, 0, w] x_{t−W+1+w}[c] + bias[c]).</summary>
public sealed class ShortConvolution : Module
{
    private readonly ConvolutionActivation _activation;

    /// <summary>A convolution.</summary>
    /// <param name="device">Where.</param>
    /// <param name="hiddenSize">Channels, C.</param>
    /// <param name="kernelSize">Kernel width, W.</param>
    /// <param name="hasBias">Whether there is a bias.</param>
    /// <param name="activation">What follows.</param>
    /// <param name="dtype">Float type of the parameters.</param>
    public ShortConvolution(ComputeDevice device, int hiddenSize, int kernelSize, bool hasBias = false,
        ConvolutionActivation activation = ConvolutionActivation.Silu, DType dtype = DType.Float32)
        : base(device, dtype)
    {
        _activation = activation;
        Weight = AddParameter("weight", WeightRules.Normal, hiddenSize, 1, kernelSize);
        Bias = hasBias ? AddParameter("bias", WeightRules.Zero, hiddenSize) : null;
    }

    /// <summary>Kernels [C, 1, W].</summary>
    public Tensor Weight { get; }

    /// <summary>[C], or null.</summary>
    public Tensor? Bias { get; }

    /// <summary>Convolves.</summary>
    /// <param name="x">[B, T, C].</param>
    /// <param name="state">The last W inputs of each sequence [N, C, W], or null for zeros.</param>
    /// <param name="outputFinalState">Whether to return the state after the last token.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences, or null.</param>
    /// <returns>y of x's shape, and the state if asked for: the given one, overwritten, when each sequence has one token and no gradients are recorded.</returns>
    public (Tensor Y, Tensor? State) Forward(Tensor x, Tensor? state = null, bool outputFinalState = false, CuSeqlens? cuSeqlens = null)
    {
        ArgumentNullException.ThrowIfNull(x);
        if (state != null && outputFinalState && !Autograd.IsEnabled && cuSeqlens == null && x.Size(1) == 1)
        {
            return (Convolutions.ShortConvolutionStep(x, weight: Weight, state: state, bias: Bias, activation: _activation), state);
        }
        return Convolutions.ShortConvolution(x, Weight, Bias, activation: _activation, initialState: state, outputFinalState: outputFinalState, cuSeqlens: cuSeqlens);
    }

    /// <summary>Convolves as a part of a mixer: within its sequences, on from the state in its cache, padding multiplied away.</summary>
    /// <param name="x">[B, T, C].</param>
    /// <param name="input">The mixer's call.</param>
    /// <param name="slot">Where the cache has the state.</param>
    /// <returns>Of x's shape.</returns>
    public Tensor Forward(Tensor x, MixerInput input, string slot)
    {
        ArgumentNullException.ThrowIfNull(input);
        var (y, state) = Forward(input.Padding?.Mask(x) ?? x, input.State(slot), input.Cache != null, input.CuSeqlens);
        input.Store(slot, state);
        return y;
    }
}
