namespace Fla.Torch;

/// <summary>Errors of backward passes, which PyTorch's engine cannot carry.</summary>
/// <remarks>
/// <para>
/// Nothing of .NET can be thrown through PyTorch's engine, and TorchSharp hands on only the engine's own text: it reports a failed backward pass of this library as an
/// "invalid gradient" of a CSharpNode. The cause is here, and on the error stream.
/// </para>
/// <para>
/// There are no second derivatives: a gradient made with create_graph: true can be used, and a backward pass that goes through it fails with a
/// <see cref="SecondDerivativeException"/> here.
/// </para>
/// <para>TorchSharp 0.107 ends the process when anything fails below torch.autograd.grad; below backward() it throws.</para>
/// </remarks>
public static class TorchBackward
{
    [ThreadStatic]
    private static Exception? _lastError;

    /// <summary>What made the last failed backward pass of this thread fail; null when none failed.</summary>
    public static Exception? LastError
    {
        get => _lastError;
        internal set => _lastError = value;
    }
}
