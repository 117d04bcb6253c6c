using Fla.Vulkan;

namespace Fla.Layers;

/// <summary>
/// A part of a network: parameters and child modules under the names of fla's state dict, in its order. It owns their memory. Parameters are made
/// with unspecified content: load a checkpoint or call <see cref="Initialize(Initializer)"/>. They require gradients from the start.
/// </summary>
/// <param name="device">Where the parameters live.</param>
/// <param name="dtype">Float type of the parameters.</param>
public abstract class Module(ComputeDevice device, DType dtype) : IDisposable
{
    private readonly List<(string Name, Tensor Tensor, WeightRule Rule)> _parameters = [];
    private readonly List<(string Name, Module Module)> _children = [];
    private readonly List<(string Name, Tensor Tensor)> _shared = [];

    /// <summary>Where the parameters live.</summary>
    public ComputeDevice Device { get; } = device;

    /// <summary>Float type of the parameters, and of the activations between modules.</summary>
    public DType DType { get; } = dtype;

    /// <summary>True in training mode, false (the default) in evaluation mode.</summary>
    public bool IsTraining { get; private set; }

    /// <summary>Direct children with their names, in state-dict order.</summary>
    public IReadOnlyList<(string Name, Module Module)> Children => _children;

    /// <summary>All parameters with their full names, in state-dict order; one that is shared appears under each of its names.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> StateDict()
    {
        foreach (var (name, tensor, _) in _parameters) yield return new(name, tensor);
        foreach (var (name, child) in _children)
        {
            foreach (var (key, tensor) in child.StateDict()) yield return new($"{name}.{key}", tensor);
        }
        foreach (var (name, tensor) in _shared) yield return new(name, tensor);
    }

    /// <summary>All parameters under their first names, each once.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> NamedParameters()
    {
        var seen = new HashSet<Tensor>(ReferenceEqualityComparer.Instance);
        return StateDict().Where(entry => seen.Add(entry.Value));
    }

    /// <summary>All parameters, each once.</summary>
    public IEnumerable<Tensor> Parameters() => NamedParameters().Select(entry => entry.Value);

    /// <summary>Number of parameters, shared ones counted once.</summary>
    public long ParameterCount => Parameters().Sum(p => p.Count);

    /// <summary>Switches this module and all below it to training or evaluation mode.</summary>
    public void Train(bool isTraining = true)
    {
        IsTraining = isTraining;
        foreach (var (_, child) in _children) child.Train(isTraining);
    }

    /// <summary>Switches to evaluation mode.</summary>
    public void Eval() => Train(false);

    /// <summary>Says whether all parameters receive gradients.</summary>
    public void RequireGradients(bool isRequired = true)
    {
        foreach (var parameter in Parameters()) parameter.RequiresGrad = isRequired;
    }

    /// <summary>Drops the gradients of all parameters.</summary>
    public void ClearGradients()
    {
        foreach (var parameter in Parameters().Where(p => p.RequiresGrad)) parameter.Grad = null;
    }

    /// <summary>Fills all parameters with fresh values by fla's rules; the same seed gives the same values on every device.</summary>
    /// <param name="initializer">Seed and standard deviation.</param>
    public void Initialize(Initializer initializer)
    {
        ArgumentNullException.ThrowIfNull(initializer);
        using var noGrad = Autograd.NoGrad();
        Initialize(initializer, "");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (_, tensor, _) in _parameters) tensor.Dispose();
        foreach (var (_, child) in _children) child.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Makes a parameter of unspecified content. When that fails, what this module holds already is given back.</summary>
    /// <param name="name">Its name in the state dict.</param>
    /// <param name="rule">What <see cref="Initialize(Initializer)"/> fills it with.</param>
    /// <param name="shape">Its shape.</param>
    protected Tensor AddParameter(string name, WeightRule rule, params ReadOnlySpan<int> shape)
    {
        try
        {
            var tensor = Tensor.Empty(Device, DType, shape).Own();
            tensor.RequiresGrad = true;
            _parameters.Add((name, tensor, rule));
            return tensor;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Gives a parameter of a module below a second name in the state dict.</summary>
    protected Tensor AddShared(string name, Tensor parameter)
    {
        _shared.Add((name, parameter));
        return parameter;
    }

    /// <summary>Makes a child. When that fails, what this module holds already is given back.</summary>
    protected T AddModule<T>(string name, Func<T> create)
        where T : Module
    {
        ArgumentNullException.ThrowIfNull(create);
        try
        {
            var module = create();
            _children.Add((name, module));
            return module;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    private void Initialize(Initializer initializer, string prefix)
    {
        foreach (var (name, tensor, rule) in _parameters) rule(initializer, tensor, prefix + name);
        foreach (var (name, child) in _children) child.Initialize(initializer, $"{prefix}{name}.");
    }
}
