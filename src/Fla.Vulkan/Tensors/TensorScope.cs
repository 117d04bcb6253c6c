namespace Fla.Vulkan;

/// <summary>
/// Collects the tensors made on this thread while it is open and disposes them when it closes. Scopes nest; <see cref="Keep"/> moves a tensor outwards.
/// </summary>
public sealed class TensorScope : IDisposable
{
    [ThreadStatic]
    private static TensorScope? _current;

    private readonly TensorScope? _outer = _current;
    private readonly HashSet<Tensor> _tensors = new(ReferenceEqualityComparer.Instance);
    private bool _isClosed;

    /// <summary>Opens a scope on this thread.</summary>
    public TensorScope() => _current = this;

    /// <summary>Tensors that would be disposed now.</summary>
    public int Count => _tensors.Count;

    /// <summary>Moves a tensor to the enclosing scope, or out of all scopes when there is none.</summary>
    /// <returns>The tensor.</returns>
    public Tensor Keep(Tensor tensor)
    {
        if (_tensors.Remove(tensor)) tensor.MoveTo(_outer);
        return tensor;
    }

    /// <summary>Disposes what is left inside.</summary>
    /// <exception cref="InvalidOperationException">A scope opened later on this thread is still open.</exception>
    public void Dispose()
    {
        if (_isClosed) return;
        if (_current != this) throw new InvalidOperationException("scopes close in the reverse order of their opening, on the thread that opened them");
        _isClosed = true;
        _current = _outer;
        foreach (var tensor in _tensors.ToList()) tensor.Dispose();
        _tensors.Clear();
    }

    internal static TensorScope? Current => _current;

    internal void Add(Tensor tensor) => _tensors.Add(tensor);

    internal void Remove(Tensor tensor) => _tensors.Remove(tensor);
}
