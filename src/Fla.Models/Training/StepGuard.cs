using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models.Training;

/// <summary>Watches over steps on the device: scales the loss where that is on, skips steps that overflow, and stops the run at one that is broken.</summary>
internal sealed class StepGuard : IDisposable
{
    private const int ScaleAt = 0;
    private const int StoppedAt = 3;

    private readonly LossScale _settings;
    private readonly Tensor _state;
    private readonly Tensor _scale;

    public StepGuard(ComputeDevice device, LossScale settings)
    {
        _settings = settings;
        _state = LossScaling.NewState(device, settings).Own();
        _scale = _state.Narrow(ScaleAt, 1).Own();
    }

    /// <summary>f32 [1]: what losses are multiplied by.</summary>
    public Tensor Scale => _scale;

    /// <summary>What has to be saved to go on later; nothing without loss scaling.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> State() => _settings.IsOn ? [new("loss_scale", _state)] : [];

    /// <summary>Judges a step by its clipped gradients and its loss; see <see cref="LossScaling.Judge"/>.</summary>
    public void Judge(Tensor clip, Tensor loss) => LossScaling.Judge(_state, clip, loss, _settings);

    /// <summary>Lets steps count again after one that stopped the run.</summary>
    public void Release()
    {
        using var stopped = _state.Narrow(StoppedAt, 1);
        stopped.Zero();
    }

    public void Dispose()
    {
        _scale.Dispose();
        _state.Dispose();
    }
}
