using Fla.Vulkan;

namespace Fla.Cli.Benchmarks;

/// <summary>What a run must at least do: bytes between memory and processor, each input read and each output written once, and multiply-adds counted twice.</summary>
internal readonly record struct Work(double Bytes, double Flops);

/// <summary>An op at a shape, with its tensors on a device.</summary>
/// <param name="Inputs">The tensors that gradients are taken of, or that are only read.</param>
/// <param name="Run">One forward run, recorded on the tape where inputs require gradients.</param>
/// <param name="Gradient">The output's gradient to start backward from; null for an op that is timed forward only.</param>
/// <param name="Error">Runs the op and gives the largest relative error of outputs and gradients against an independent reference.</param>
/// <param name="Forward">Work of a forward run.</param>
/// <param name="Both">Work of forward and backward.</param>
internal sealed record BenchCase(Tensor[] Inputs, Func<Tensor> Run, Tensor? Gradient, Func<double> Error, Work Forward, Work Both)
{
    /// <summary>A forward run off the tape.</summary>
    public void RunForward()
    {
        using var off = Autograd.NoGrad();
        Run();
    }

    /// <summary>Forward and backward, gradients left in the inputs.</summary>
    public Tensor RunBoth()
    {
        var o = Run();
        Autograd.Backward(o, Gradient!);
        return o;
    }

    /// <summary>Forward and backward, gradients dropped.</summary>
    public void Step()
    {
        RunBoth();
        ClearGradients();
    }

    /// <summary>All that it has: forward and backward, or forward alone.</summary>
    public void Whole()
    {
        if (Gradient is null) RunForward();
        else Step();
    }

    /// <summary>Drops the gradients of the inputs.</summary>
    public void ClearGradients()
    {
        foreach (var input in Inputs) input.Grad = null;
    }
}

/// <summary>An entry of the registry.</summary>
internal abstract record BenchOp(string Name)
{
    /// <summary>The shapes it is timed at unless others are named.</summary>
    public virtual BenchShape[] Shapes(bool isCpu) => isCpu ? BenchShape.SmallDefaults : BenchShape.Defaults;

    /// <summary>Whether a shape means something to the op.</summary>
    public virtual bool Takes(BenchShape shape) => true;

    /// <summary>Makes its tensors, in the current scope.</summary>
    public abstract BenchCase Make(ComputeDevice device, DType type, BenchShape shape);
}
