namespace Fla.Vulkan.Ops;

/// <summary>Constants of AdamW.</summary>
/// <param name="Beta1">Decay of the mean of gradients.</param>
/// <param name="Beta2">Decay of the mean of their squares.</param>
/// <param name="Eps">Added to the root.</param>
/// <param name="WeightDecay">Decoupled decay, times the learning rate.</param>
public readonly record struct AdamWSettings(double Beta1 = 0.9, double Beta2 = 0.999, double Eps = 1e-8, double WeightDecay = 0.01)
{
    /// <summary>PyTorch's defaults.</summary>
    public AdamWSettings()
        : this(0.9, 0.999, 1e-8, 0.01)
    {
    }

    internal void Check()
    {
        Require.That(Beta1 is >= 0 and < 1 && Beta2 is >= 0 and < 1, $"AdamW's betas lie in [0, 1), not at {Beta1} and {Beta2}");
        Require.That(Eps >= 0 && WeightDecay >= 0, $"AdamW's eps and weight decay are not negative: {Eps}, {WeightDecay}");
    }
}

/// <summary>Parameter updates (shaders/optim). Everything that changes from step to step is in device memory, so that a captured step can be replayed.</summary>
public static class Optimizers
{
    private static readonly Kernel<StepArgs> StepKernel = new("optim/adamw");
    private static readonly Kernel<AdvanceArgs> AdvanceKernel = new("optim/advance");

    private readonly record struct StepArgs(InOut Param, InOut Master, In Grad, InOut M, InOut V, In Lr, In Correction, In Clip, uint N, uint GradType, uint Wide, float Beta1,
        float Beta2, float OneMinusBeta1, float OneMinusBeta2, float Eps, float Decay);

    private readonly record struct AdvanceArgs(InOut Step, Out Correction, In Clip, float LogBeta1, float LogBeta2);

    /// <summary>Begins a step for all parameters: adds 1 to the counter and computes 1 − β^step from it.</summary>
    /// <param name="step">i32 [1]: the number of steps done.</param>
    /// <param name="correction">f32 [2], written: 1 − β1^step, 1 − β2^step.</param>
    /// <param name="settings">The betas.</param>
    /// <param name="clip">What <see cref="Gradients.ClipNorm"/> returned, or null. With a non-finite gradient the step does nothing.</param>
    public static void Advance(Tensor step, Tensor correction, AdamWSettings settings, Tensor? clip = null)
    {
        settings.Check();
        Require.SameDevice(step, correction, clip);
        Require.Shape(step, nameof(step), 1);
        Require.Type(step, DType.Int32, nameof(step));
        Require.Shape(correction, nameof(correction), 2);
        Require.Type(correction, DType.Float32, nameof(correction));
        CheckClip(clip);
        // ln 0 would be −∞, which shaders need not know: −200 gives a correction of 1 as well.
        static float Log(double beta) => beta == 0 ? -200 : (float)Math.Log(beta);
        AdvanceKernel.Launch(step.Device, new(step, correction, clip, Log(settings.Beta1), Log(settings.Beta2)), new(1), null, RowLayout.Workgroup);
    }

    /// <summary>
    /// One AdamW update of one parameter, in place (Loshchilov and Hutter 2019): p ← p(1 − lr·decay) − lr·m̂ / (√v̂ + eps).
    /// </summary>
    /// <param name="param">The parameter.</param>
    /// <param name="grad">Its gradient, of any float type.</param>
    /// <param name="m">f32 of its shape: mean of gradients.</param>
    /// <param name="v">f32 of its shape: mean of squares.</param>
    /// <param name="lr">f32 [1]: learning rate.</param>
    /// <param name="correction">What <see cref="Advance"/> wrote.</param>
    /// <param name="settings">Constants.</param>
    /// <param name="master">f32 of its shape: the parameter's exact value, rounded into param; null when param is exact itself.</param>
    /// <param name="clip">What <see cref="Gradients.ClipNorm"/> returned: its factor is applied, and non-finite gradients change nothing; or null.</param>
    /// <exception cref="ShapeException">Shapes differ.</exception>
    /// <exception cref="DTypeException">A moment, scalar or master is not f32.</exception>
    public static void AdamWStep(Tensor param, Tensor grad, Tensor m, Tensor v, Tensor lr, Tensor correction, AdamWSettings settings, Tensor? master = null, Tensor? clip = null)
    {
        settings.Check();
        Require.SameDevice(param, grad, m, v, lr, correction, master, clip);
        Require.Float(param, nameof(param));
        Require.Float(grad, nameof(grad));
        Require.Shape(grad, nameof(grad), param.Shape);
        foreach (var (tensor, name) in new[] { (m, "m"), (v, "v"), (master, "master") })
        {
            Require.Shape(tensor, name, param.Shape);
            Require.Type(tensor, DType.Float32, name);
        }
        Require.Shape(lr, nameof(lr), 1);
        Require.Type(lr, DType.Float32, nameof(lr));
        Require.Shape(correction, nameof(correction), 2);
        CheckClip(clip);
        StepKernel.Launch(param.Device, new(param, master, grad, m, v, lr, correction, clip, RowLayout.Index(param.Count, param), RowLayout.TypeCode(grad),
            RowLayout.Wide(4, param, grad, m, v, master), (float)settings.Beta1, (float)settings.Beta2, (float)(1 - settings.Beta1), (float)(1 - settings.Beta2), (float)settings.Eps,
            (float)settings.WeightDecay), RowLayout.Elements(param.Count), param.DType.Variant(), RowLayout.Workgroup);
        param.Storage.Version++;
    }

    private static void CheckClip(Tensor? clip)
    {
        Require.Shape(clip, nameof(clip), 3);
        Require.Type(clip, DType.Float32, nameof(clip));
    }
}
