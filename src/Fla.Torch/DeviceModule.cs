using Fla.Layers;
using Fla.Vulkan;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using DeviceTensor = Fla.Vulkan.Tensor;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch;

/// <summary>A module's work on tensors that crossed.</summary>
internal delegate DeviceTensor?[] ModuleFunction<TModule>(TModule module, DeviceTensor?[] inputs, TorchCall call);

/// <summary>
/// The device's half of an nn.Module: a module of Fla.Layers whose parameters PyTorch owns. It follows the nn.Module through to(dtype): the module is made
/// again in the new type.
/// </summary>
/// <typeparam name="TModule">The module's type.</typeparam>
internal sealed class DeviceModule<TModule> : ParameterSet, IDisposable
    where TModule : Module
{
    private readonly Func<ComputeDevice, DType, TModule> _create;
    private readonly Dictionary<string, ParameterGroup> _groups = [];
    private readonly List<(string Alias, string Name)> _aliases = [];
    private bool _isTraining;

    /// <summary>Makes the module and hands its parameters to an nn.Module, under their names in fla's state dict.</summary>
    /// <param name="root">Who owns the parameters.</param>
    /// <param name="create">Makes the module in a type.</param>
    /// <param name="dtype">Float type at first.</param>
    /// <param name="fill">Gives fresh parameters their values; null for a module that has them.</param>
    public DeviceModule(nn.Module root, Func<ComputeDevice, DType, TModule> create, ScalarType dtype, Action<TModule>? fill)
    {
        LibTorch.Require();
        _create = create;
        var type = Crossing.TypeOf(dtype);
        Device = TorchDevice.Current;
        Module = create(Device, type);
        fill?.Invoke(Module);
        // Parameters made in inference mode could never be trained.
        using var inference = torch.inference_mode(false);
        var named = Module.NamedParameters().ToList();
        var values = Crossing.Download([.. named.Select(p => p.Value)], isKept: true);
        var slots = new List<Slot>();
        for (var i = 0; i < named.Count; i++)
        {
            var (group, name) = Place(root, named[i].Key);
            var parameter = new Parameter(values[i], requires_grad: true);
            parameter.DetachFromDisposeScope();
            group.register_parameter(name, parameter);
            slots.Add(new(named[i].Key, () => group.get_parameter(name)!, named[i].Value));
        }
        Slots = slots;
        var first = new Dictionary<DeviceTensor, string>(ReferenceEqualityComparer.Instance);
        foreach (var (name, tensor) in named) first.Add(tensor, name);
        foreach (var (alias, tensor) in Module.StateDict())
        {
            if (first[tensor] != alias) _aliases.Add((alias, first[tensor]));
        }
    }

    /// <inheritdoc/>
    public override ComputeDevice Device { get; }

    /// <summary>The module in the present type of the parameters.</summary>
    public TModule Module { get; private set; }

    /// <summary>Adds the second names of shared parameters to a state dict.</summary>
    public Dictionary<string, Tensor> AddAliases(Dictionary<string, Tensor> state, string? prefix)
    {
        foreach (var (alias, name) in _aliases) state.TryAdd(Full(alias), state[Full(name)]);
        return state;

        string Full(string key) => string.IsNullOrEmpty(prefix) ? key : $"{prefix}.{key}";
    }

    /// <summary>Switches between training and evaluation.</summary>
    public void Train(bool isTraining)
    {
        _isTraining = isTraining;
        Module.Train(isTraining);
    }

    /// <summary>Runs the module on tensors that cross.</summary>
    public Tensor?[] Run(Tensor?[] inputs, ModuleFunction<TModule> function, Tensor? cuSeqlens = null) =>
        TorchCall.Run(typeof(TModule).Name, Device, inputs, (crossed, call) => function(Module, crossed, call), this, cuSeqlens);

    /// <inheritdoc/>
    public void Dispose() => Module.Dispose();

    /// <inheritdoc/>
    protected override void Prepare(Tensor[] hosts)
    {
        if (hosts.Length == 0) return;
        var type = hosts[0].dtype;
        for (var i = 1; i < hosts.Length; i++)
        {
            if (hosts[i].dtype != type) throw new DTypeException($"the parameters are of one type: {Slots[0].Name} is {type}, {Slots[i].Name} is {hosts[i].dtype}");
        }
        if (Module.DType == Crossing.TypeOf(type)) return;
        var before = Module;
        Module = _create(Device, Crossing.TypeOf(type));
        Module.Train(_isTraining);
        before.Dispose();
        Slots = [.. Slots.Zip(Module.Parameters(), (slot, tensor) => new Slot(slot.Name, slot.Host, tensor))];
    }

    /// <summary>The group of a dotted name, made with those above it, and the rest of the name.</summary>
    private (nn.Module Group, string Name) Place(nn.Module root, string fullName)
    {
        var group = root;
        var parts = fullName.Split('.');
        for (var i = 1; i < parts.Length; i++)
        {
            var path = string.Join('.', parts[..i]);
            if (!_groups.TryGetValue(path, out var next))
            {
                next = new(parts[i - 1]);
                group.register_module(parts[i - 1], next);
                _groups.Add(path, next);
            }
            group = next;
        }
        return (group, parts[^1]);
    }

    /// <summary>A level of names.</summary>
    private sealed class ParameterGroup(string name) : nn.Module(name);
}
