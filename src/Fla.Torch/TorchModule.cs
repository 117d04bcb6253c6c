using Fla.Layers;
using Fla.Vulkan;
using TorchSharp;
using static TorchSharp.torch;
using DeviceTensor = Fla.Vulkan.Tensor;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch;

/// <summary>
/// A module of Fla.Layers as a TorchSharp module of one tensor: parameters under fla's names, autograd through forward, train and eval, to(dtype), and all else of
/// nn.Module. It runs on the Vulkan device that was current when it was made (<see cref="TorchDevice"/>); TorchSharp's side of it lives on the CPU.
/// </summary>
/// <typeparam name="TModule">The module's type.</typeparam>
public class TorchModule<TModule> : nn.Module<Tensor, Tensor>
    where TModule : Module
{
    private readonly DeviceModule<TModule> _module;
    private readonly Func<TModule, DeviceTensor, DeviceTensor> _forward;

    /// <summary>A module with fresh parameters, drawn with PyTorch's generator.</summary>
    /// <param name="create">Makes the device's module in a type.</param>
    /// <param name="forward">Runs it.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="LibTorchException">libtorch cannot be loaded.</exception>
    /// <exception cref="DTypeException">The device has no such type.</exception>
    public TorchModule(Func<ComputeDevice, DType, TModule> create, Func<TModule, DeviceTensor, DeviceTensor> forward, ScalarType dtype = ScalarType.Float32)
        : base(LibTorch.Name(typeof(TModule)))
    {
        _forward = forward;
        _module = new(this, create, dtype, module => module.Initialize(new Initializer(LibTorch.Seed())));
    }

    /// <inheritdoc/>
    public override Tensor forward(Tensor input) => _module.Run([input], (module, crossed, _) => [_forward(module, crossed[0]!)])[0]!;

    /// <inheritdoc/>
    public override void train(bool train = true)
    {
        base.train(train);
        _module.Train(train);
    }

    /// <inheritdoc/>
    public override Dictionary<string, Tensor> state_dict(Dictionary<string, Tensor>? destination = null, string? prefix = null) =>
        _module.AddAliases(base.state_dict(destination, prefix), prefix);

    /// <summary>The device's half.</summary>
    private protected DeviceModule<TModule> OnDevice => _module;

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        // Also for a module that was forgotten: what it holds on the device, the collector does not see. null when the constructor threw.
        _module?.Dispose();
        base.Dispose(disposing);
    }
}
