using Fla.Vulkan;

namespace Fla.Models.Training;

public sealed partial class Trainer
{
    /// <summary>Ends the steps under way, none of which changed anything, and finds out what was wrong with the first of them.</summary>
    private NonFiniteException Stop(StepUnderWay step, double loss, double gradNorm)
    {
        _model.Device.Synchronize();
        _pending.Clear();
        _guard.Release();
        _isContinuous = false;
        Step = step.Step;
        return new(step.Step, loss, gradNorm, FirstNonFinite(step.WriteInputs));
    }

    /// <summary>
    /// Times every kernel of one more step, on the inputs of the last. The step is recorded anew, its kernels run one after the other, and its learning rate is 0:
    /// parameters stay as they are, but moments move, so this is for the end of a run.
    /// </summary>
    /// <exception cref="DeviceException">The device has no timestamps.</exception>
    public Profile ProfileStep()
    {
        _model.Device.Synchronize();
        FreeGraph();
        _optimizer.SetLearningRate(0);
        // Once unseen: the memory of the recorded step has to be there, and the kernels compiled.
        Record();
        _model.Device.Synchronize();
        var profile = _model.Device.Stream.StartProfile();
        Record();
        profile.Stop();
        return profile;
    }

    /// <summary>The captured step's memory is needed for one that is recorded anew.</summary>
    private void FreeGraph()
    {
        _graph?.Dispose();
        _graph = null;
        _model.Device.TrimMemory();
    }

    /// <summary>Runs the forward and backward passes of a step again, looking at every parameter, result and gradient on the way.</summary>
    private string? FirstNonFinite(Action writeInputs)
    {
        FreeGraph();
        using var scope = _model.Device.Scope();
        using var watch = new FiniteWatch(_model.NamedParameters());
        foreach (var (name, parameter) in _model.NamedParameters()) watch.Look($"the parameter {name}", parameter);
        if (watch.First != null) return watch.First;
        writeInputs();
        var loss = Tensor.Empty(_model.Device, DType.Float32, 1);
        try
        {
            RunPasses(loss);
            foreach (var (name, parameter) in _model.NamedParameters())
            {
                if (parameter.Grad is { } gradient) watch.Look($"the sum of gradients of {name}", gradient);
            }
            return watch.First;
        }
        catch (GpuOutOfMemoryException)
        {
            return watch.First ?? "unknown, because there is no memory left to run the step again";
        }
        finally
        {
            _model.ClearGradients();
        }
    }
}
