using Fla.Layers;
using Fla.Vulkan;
using TorchSharp;
using static TorchSharp.torch;
using DeviceTensor = Fla.Vulkan.Tensor;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch;

/// <summary>A layer that knows of padding and packing as a TorchSharp module: [B, T, D] to [B, T, D].</summary>
/// <typeparam name="TMixer">The layer's type.</typeparam>
public class TorchMixer<TMixer> : TorchModule<TMixer>
    where TMixer : Module
{
    private readonly Func<TMixer, DeviceTensor, MixerContext, DeviceTensor> _forward;

    /// <summary>A layer with fresh parameters, drawn with PyTorch's generator.</summary>
    /// <param name="create">Makes the device's layer in a type.</param>
    /// <param name="forward">Runs it.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="LibTorchException">libtorch cannot be loaded.</exception>
    /// <exception cref="DTypeException">The device has no such type.</exception>
    public TorchMixer(Func<ComputeDevice, DType, TMixer> create, Func<TMixer, DeviceTensor, MixerContext, DeviceTensor> forward, ScalarType dtype = ScalarType.Float32)
        : base(create, (mixer, x) => forward(mixer, x, MixerContext.Empty), dtype) => _forward = forward;

    /// <summary>Mixes the tokens of a padded or packed batch.</summary>
    /// <param name="x">[B, T, D].</param>
    /// <param name="attention_mask">[B, T], zero at padding; or null.</param>
    /// <param name="cu_seqlens">Boundaries of sequences packed into one row, int32 or int64 [N + 1]; or null. It wins over the mask.</param>
    /// <returns>[B, T, D].</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together, or a row of padding alone.</exception>
    public Tensor forward(Tensor x, Tensor? attention_mask = null, Tensor? cu_seqlens = null)
    {
        var mask = MaskValues.Of(attention_mask);
        return OnDevice.Run([x], (mixer, inputs, call) =>
            [_forward(mixer, inputs[0]!, new() { Mask = mask?.On(OnDevice.Device, call), CuSeqlens = call.CuSeqlens })], cu_seqlens)[0]!;
    }
}
