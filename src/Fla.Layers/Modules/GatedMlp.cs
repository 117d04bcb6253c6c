using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>down(act(gate(x)) · up(x)), without biases (Shazeer, "GLU Variants Improve Transformer", 2020).</summary>
public sealed class GatedMlp : Module
{
    private const float PowluPower = 3;

    private readonly Linear _gate;
    private readonly Linear _up;
    private readonly Linear _down;
    private readonly bool _isPowlu;

    /// <summary>A gated MLP.</summary>
    /// <param name="device">Where.</param>
    /// <param name="hiddenSize">Width of input and output, D.</param>
    /// <param name="intermediateSize">Width inside, I.</param>
    /// <param name="hiddenAct">swish, or powlu (power 3).</param>
    /// <param name="dtype">Float type of the weights.</param>
    /// <exception cref="ArgumentException">Another activation.</exception>
    public GatedMlp(ComputeDevice device, int hiddenSize, int intermediateSize, string hiddenAct = "swish", DType dtype = DType.Float32)
        : base(device, dtype)
    {
        if (hiddenAct is not ("swish" or "powlu")) throw new ArgumentException($"hidden_act '{hiddenAct}' is neither swish nor powlu", nameof(hiddenAct));
        _isPowlu = hiddenAct == "powlu";
        _gate = AddModule("gate_proj", () => new Linear(device, hiddenSize, intermediateSize, dtype: dtype));
        _up = AddModule("up_proj", () => new Linear(device, hiddenSize, intermediateSize, dtype: dtype));
        _down = AddModule("down_proj", () => new Linear(device, intermediateSize, hiddenSize, dtype: dtype));
    }

    /// <summary>Applies the MLP.</summary>
    /// <param name="x">[..., D].</param>
    /// <returns>[..., D].</returns>
    public Tensor Forward(Tensor x)
    {
        using var scope = Device.Scope();
        var gate = _gate.Forward(x);
        var up = _up.Forward(x);
        return scope.Keep(_down.Forward(_isPowlu ? Activations.PowGlu(gate, up, PowluPower) : Activations.SwiGlu(gate, up)));
    }

    /// <summary>x + mlp(norm(x)) for the few rows of a decoding step, in two kernels.</summary>
    /// <param name="x">[..., D] that <see cref="DecodeProducts.Takes(Tensor)"/>.</param>
    /// <param name="norm">Before the MLP.</param>
    /// <returns>[..., D].</returns>
    public Tensor ForwardResidual(Tensor x, Norm norm)
    {
        ArgumentNullException.ThrowIfNull(norm);
        using var scope = Device.Scope();
        var inProduct = norm.InProduct is { } n && DecodeProducts.Takes(x, n) ? n : (RowNorm?)null;
        var inner = DecodeProducts.Glu(inProduct is null ? norm.Forward(x) : x, _gate.Weight, _up.Weight, inProduct, _isPowlu ? PowluPower : null);
        return scope.Keep(DecodeProducts.Linear(inner, _down.Weight, other: x));
    }
}
