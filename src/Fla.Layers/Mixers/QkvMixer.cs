using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>What mixers with heads share: projections to queries, keys and values, each with an optional short convolution.</summary>
public abstract class QkvMixer : TokenMixer
{
    private const string ConvState = "conv_state.";

    private readonly Projection _q = new("q");
    private readonly Projection _k = new("k");
    private readonly Projection _v = new("v");

    /// <summary>A mixer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    protected QkvMixer(ComputeDevice device, MixerOptions options, DType dtype)
        : base(device, options, dtype)
    {
    }

    /// <summary>Whether the projections pass convolutions.</summary>
    protected bool HasConvolutions => _q.Convolution != null;

    private IEnumerable<Projection> Projections => [_q, _k, _v];

    /// <summary>Makes the projections, of these widths.</summary>
    protected void AddProjections(int q, int k, int v)
    {
        (_q.Width, _k.Width, _v.Width) = (q, k, v);
        foreach (var p in Projections) p.Linear = AddModule($"{p.Name}_proj", () => new Linear(Device, HiddenSize, p.Width, dtype: DType));
    }

    /// <summary>Makes the convolutions.</summary>
    /// <param name="size">Kernel width.</param>
    /// <param name="hasBias">Whether they have a bias.</param>
    /// <param name="qk">What follows those of q and k; silu follows that of v.</param>
    protected void AddConvolutions(int size, bool hasBias, ConvolutionActivation qk = ConvolutionActivation.Silu)
    {
        foreach (var p in Projections)
        {
            var activation = p == _v ? ConvolutionActivation.Silu : qk;
            p.Convolution = AddModule($"{p.Name}_conv1d", () => new ShortConvolution(Device, p.Width, size, hasBias, activation, DType));
        }
    }

    /// <summary>q, k and v [B, T, width], after their convolutions.</summary>
    protected (Tensor Q, Tensor K, Tensor V) Project(MixerInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        return (_q.Forward(input), _k.Forward(input), _v.Forward(input));
    }

    private sealed class Projection(string name)
    {
        public string Name => name;

        public int Width { get; set; }

        public Linear? Linear { get; set; }

        public ShortConvolution? Convolution { get; set; }

        public Tensor Forward(MixerInput input)
        {
            var x = input.Project(Linear!);
            return Convolution?.Forward(x, input, ConvState + name) ?? x;
        }
    }
}
