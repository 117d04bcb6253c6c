namespace Fla.Vulkan.Ops;

/// <summary>What <see cref="LossScaling.Judge"/> found of a step.</summary>
public enum StepVerdict
{
    /// <summary>All is finite: the step counts.</summary>
    Counts = 0,

    /// <summary>Gradients overflowed under a scale that can still fall: the step changes nothing.</summary>
    Skipped = 1,

    /// <summary>The loss, or gradients under the lowest scale, are not finite: this step and all after it change nothing.</summary>
    Stopped = 2,

    /// <summary>A step after such a one.</summary>
    AfterStop = 3,
}

/// <summary>How the scale of a loss moves.</summary>
/// <param name="Initial">Scale of the first step.</param>
/// <param name="GrowthInterval">Steps without overflow after which it doubles; 0 for never.</param>
/// <param name="Least">Lowest scale; gradients that overflow even there end the run.</param>
/// <param name="Most">Highest scale.</param>
public readonly record struct LossScale(float Initial, int GrowthInterval, float Least, float Most)
{
    /// <summary>No scaling: 1 for ever.</summary>
    public static LossScale None { get; } = new(1, 0, 1, 1);

    /// <summary>Usual for f16: begins at 2¹⁶, doubles after 1000 good steps up to 2²⁴, halves with each overflow down to 1.</summary>
    public static LossScale Dynamic { get; } = new(65536, 1000, 1, 16777216);

    /// <summary>Whether losses are scaled at all.</summary>
    public bool IsOn => this != None;

    /// <summary>Throws when the numbers make no sense together.</summary>
    /// <exception cref="ShapeException">A scale is not positive or finite, or they are out of order.</exception>
    public void Check()
    {
        Require.That(Least > 0 && Least <= Initial && Initial <= Most && float.IsFinite(Most), $"loss scales are finite and 0 < least <= initial <= most, not {Least}, {Initial}, {Most}");
        Require.That(GrowthInterval >= 0, $"a loss scale grows after a number of steps, not {GrowthInterval}");
    }
}

/// <summary>
/// Dynamic loss scaling (Micikevicius et al. 2018) that the host has no part in: the scale lives, moves and skips steps on the device
/// (shaders/optim/guard.comp), so that a captured step can be replayed.
/// </summary>
public static class LossScaling
{
    private static readonly Kernel<GuardArgs> GuardKernel = new("optim/guard");

    private readonly record struct GuardArgs(InOut State, InOut Clip, In Loss, uint Interval, float Least, float Most);

    /// <summary>State of a run's first step, f32 [4]: scale, steps since it last moved, steps skipped, 1 once a step has stopped the run.</summary>
    public static Tensor NewState(ComputeDevice device, LossScale settings)
    {
        settings.Check();
        return Tensor.From(device, [settings.Initial, 0, 0, 0], [4]);
    }

    /// <summary>Decides whether a step counts, and moves the scale. Goes between <see cref="Gradients.ClipNorm"/> and <see cref="Optimizers.Advance"/>.</summary>
    /// <param name="state">What <see cref="NewState"/> made.</param>
    /// <param name="clip">What <see cref="Gradients.ClipNorm"/> returned; its third number becomes the <see cref="StepVerdict"/>.</param>
    /// <param name="loss">f32 [1].</param>
    /// <param name="settings">How the scale moves.</param>
    /// <exception cref="ShapeException">Other shapes, or settings out of range.</exception>
    /// <exception cref="DTypeException">Other types.</exception>
    public static void Judge(Tensor state, Tensor clip, Tensor loss, LossScale settings)
    {
        settings.Check();
        Require.SameDevice(state, clip, loss);
        foreach (var (tensor, name, size) in new[] { (state, nameof(state), 4), (clip, nameof(clip), 3), (loss, nameof(loss), 1) })
        {
            Require.Shape(tensor, name, size);
            Require.Type(tensor, DType.Float32, name);
        }
        GuardKernel.Launch(state.Device, new(state, clip, loss, settings.GrowthInterval == 0 ? uint.MaxValue : (uint)settings.GrowthInterval, settings.Least, settings.Most), new(1),
            null, RowLayout.Workgroup);
    }
}
