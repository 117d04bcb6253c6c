using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>
/// RWKV-7's channel mixing: value(act(key(x + δ ⊙ x_k))), δ the step back to the token before. Padding is multiplied away, so it must be on the left.
/// </summary>
public sealed class Rwkv7FeedForward : Module
{
    private const string ShiftSlot = "ffn_state";

    private readonly Tensor _xK;
    private readonly Linear _key;
    private readonly Linear _value;
    private readonly string _activation;

    /// <summary>A channel mixing.</summary>
    /// <param name="device">Where.</param>
    /// <param name="hiddenSize">Width of input and output, D.</param>
    /// <param name="intermediateSize">Width inside, I.</param>
    /// <param name="hiddenAct">Activation: sqrelu, or another of <see cref="Activations.Apply"/>.</param>
    /// <param name="layer">Index of the layer: fresh weights depend on it.</param>
    /// <param name="layers">Layers of the model.</param>
    /// <param name="dtype">Float type of the parameters.</param>
    public Rwkv7FeedForward(ComputeDevice device, int hiddenSize, int intermediateSize, string hiddenAct = "sqrelu", int layer = 0, int layers = 1,
        DType dtype = DType.Float32)
        : base(device, dtype)
    {
        _activation = hiddenAct;
        var power = Math.Pow(1 - ((double)layer / layers), 4);
        _xK = AddParameter("x_k", WeightRules.Values(i => 1 - Math.Pow((double)i[0] / hiddenSize, power)), hiddenSize);
        _key = AddModule("key", () => new Linear(device, hiddenSize, intermediateSize, weightRule: WeightRules.Orthogonal(), dtype: dtype));
        _value = AddModule("value", () => new Linear(device, intermediateSize, hiddenSize, weightRule: WeightRules.Zero, dtype: dtype));
    }

    /// <summary>Mixes channels.</summary>
    /// <param name="x">[B, T, D].</param>
    /// <param name="context">Packing, padding, and the layer's cache, in which it keeps the last input of each sequence.</param>
    /// <returns>[B, T, D].</returns>
    public Tensor Forward(Tensor x, MixerContext context)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(context);
        using var scope = Device.Scope();
        var masked = context.Padding(x.Size(1))?.Mask(x) ?? x;
        var (delta, last) = TokenShifts.TokenShift(masked, context.CuSeqlens, context.Cache?.Get(ShiftSlot), context.Cache != null);
        if (last != null) context.Cache!.Set(ShiftSlot, last);
        var mixed = Elementwise.Add(masked, Elementwise.Mul(delta, _xK));
        return scope.Keep(_value.Forward(Activations.Apply(_activation, _key.Forward(mixed))));
    }
}
