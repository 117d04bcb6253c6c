using System.Diagnostics;
using Fla.Models.Training;

namespace Fla.Cli.Training;

/// <summary>Steps of a trainer until the time or the number of steps is used up, with held-out losses and checkpoints on the way.</summary>
/// <param name="trainer">The trainer; where the pace decides the number of steps, its schedule follows.</param>
/// <param name="runStep">Starts the trainer's next step, on the samples that follow from its number.</param>
/// <param name="heldOut">Sequences that are never trained on; none for no held-out losses.</param>
internal sealed class TrainingRun(Trainer trainer, Action runStep, IReadOnlyList<ReadOnlyMemory<int>> heldOut)
{
    private const int Evaluations = 5;
    private const int WarmupSteps = 20;
    private const double WarmupShare = 0.05;
    private const int Smoothed = 10;

    private const int LeastUnderWay = 2;
    private const int MostUnderWay = 16;

    private static readonly TimeSpan ReportInterval = TimeSpan.FromSeconds(0.25);

    private readonly List<StepResult> _steps = [];
    private readonly List<(long Step, double Loss)> _heldOut = [];
    private long _evaluated = -1;
    private long _saved = -1;
    private long _sampled = -1;

    /// <summary>What every step showed.</summary>
    public IReadOnlyList<StepResult> Steps => _steps;

    /// <summary>Held-out losses by the number of steps done, the first of them before training.</summary>
    public IReadOnlyList<(long Step, double Loss)> HeldOut => _heldOut;

    /// <summary>Steps between held-out losses; null for a fifth of the run.</summary>
    public long? EvaluateEvery { get; init; }

    /// <summary>Steps between checkpoints; null for none.</summary>
    public long? SaveEvery { get; init; }

    /// <summary>Writes a checkpoint; called when everything is collected, also at the end of a run with <see cref="SaveEvery"/>.</summary>
    public Action Save { get; init; } = () => { };

    /// <summary>Steps between texts that the model writes; null for none.</summary>
    public long? SampleEvery { get; init; }

    /// <summary>Lets the model write; called when everything is collected, before a checkpoint, also at the end of a run with <see cref="SampleEvery"/>.</summary>
    public Action Sample { get; init; } = () => { };

    /// <summary>Told of every step, in order.</summary>
    public Action<StepResult> OnStep { get; init; } = _ => { };

    /// <summary>Told of every held-out loss.</summary>
    public Action<long, double> OnHeldOut { get; init; } = (_, _) => { };

    /// <summary>Steps of the warm-up in a run of so many.</summary>
    public static long Warmup(long steps) => Math.Min(WarmupSteps, (long)(steps * WarmupShare));

    /// <summary>Trains.</summary>
    /// <param name="pace">How long.</param>
    /// <param name="report">Told where the run stands.</param>
    /// <param name="cancellation">Ends the run early, after the steps under way.</param>
    public void Run(Pace pace, Action<TrainingStatus> report, CancellationToken cancellation)
    {
        Evaluate();
        _saved = _sampled = trainer.Step;
        // The first step compiles the kernels: it is no measure of the others.
        if (pace.Steps == 0 || trainer.Step < pace.Steps) runStep();
        Collect();
        DoWhatIsDue(pace);
        var clock = Stopwatch.StartNew();
        var reported = TimeSpan.Zero;
        pace.Start(trainer.Step);
        while (!cancellation.IsCancellationRequested && (pace.Steps == 0 || trainer.Step < pace.Steps))
        {
            runStep();
            var isDue = EvaluationIsDue(pace) || IsDue(SampleEvery) || IsDue(SaveEvery) || trainer.Step == pace.Steps;
            // The device has the next steps already while the results of the last are looked at.
            Collect(isDue ? 0 : UnderWay(pace));
            if (!isDue && pace.SecondsPerStep > 0 && clock.Elapsed - reported < ReportInterval) continue;
            var done = trainer.Step - trainer.Pending;
            reported = clock.Elapsed;
            pace.Measure(done, reported);
            if (pace.SecondsPerStep == 0) continue;
            if (!pace.IsFixed) Reschedule(pace.Steps);
            report(Status(pace, done));
            if (trainer.Step >= pace.Steps || !isDue) continue;
            DoWhatIsDue(pace);
            pace.Skip(clock.Elapsed);
        }
        Collect();
        if (SampleEvery != null && !cancellation.IsCancellationRequested) SampleNow();
        if (SaveEvery != null) SaveNow();
        if (!cancellation.IsCancellationRequested) Evaluate();
    }

    /// <summary>Speed and load of all steps but the first, in one line.</summary>
    public string Summary()
    {
        var steps = _steps.Where(step => step.Timing.Idle >= 0).ToList();
        var skipped = _steps.Count(step => step.IsSkipped);
        var memory = $"at most {trainer.Memory.PeakHeld / 1e9:0.00} GB of device memory{(skipped == 0 ? "" : $"; {skipped} steps skipped for overflow")}";
        if (steps.Count == 0) return memory;
        var speed = trainer.Options.TokensPerStep / steps.Average(step => step.Timing.Device + step.Timing.Idle);
        return $"{speed:N0} tokens/s, device busy {100 * BusyShare(steps):0.0} % of the time, {1000 * steps.Average(step => step.Timing.Host):0.00} ms of the host a step, {memory}";
    }

    private static double BusyShare(IEnumerable<StepResult> steps)
    {
        var (busy, idle) = (0.0, 0.0);
        foreach (var step in steps.Where(step => step.Timing.Idle >= 0)) (busy, idle) = (busy + step.Timing.Device, idle + step.Timing.Idle);
        return busy / (busy + idle);
    }

    private static int UnderWay(Pace pace) =>
        pace.SecondsPerStep == 0 ? LeastUnderWay : (int)Math.Clamp(ReportInterval.TotalSeconds / pace.SecondsPerStep, LeastUnderWay, MostUnderWay);

    private bool EvaluationIsDue(Pace pace) => heldOut.Count > 0 && (EvaluateEvery != null ? IsDue(EvaluateEvery)
        : pace.Steps > 0 && trainer.Step * Evaluations / pace.Steps >= _heldOut.Count);

    /// <summary>Between two steps, when everything is collected; at the end of the run all is due anyway.</summary>
    private void DoWhatIsDue(Pace pace)
    {
        if (trainer.Step >= pace.Steps) return;
        if (EvaluationIsDue(pace)) Evaluate();
        if (IsDue(SampleEvery)) SampleNow();
        if (IsDue(SaveEvery)) SaveNow();
    }

    private bool IsDue(long? every) => every is { } n && trainer.Step % n == 0;

    private void Collect(int leave = 0)
    {
        do
        {
            foreach (var step in trainer.Collect(leave))
            {
                _steps.Add(step);
                OnStep(step);
            }
        }
        while (trainer.Pending > leave);
    }

    private void Evaluate()
    {
        if (heldOut.Count == 0 || _evaluated == trainer.Step) return;
        _evaluated = trainer.Step;
        _heldOut.Add((trainer.Step, trainer.Evaluate(heldOut)));
        OnHeldOut(trainer.Step, _heldOut[^1].Loss);
    }

    private void SampleNow()
    {
        if (_sampled == trainer.Step) return;
        _sampled = trainer.Step;
        Sample();
    }

    private void SaveNow()
    {
        if (_saved == trainer.Step) return;
        _saved = trainer.Step;
        Save();
    }

    private void Reschedule(long steps)
    {
        steps = Math.Max(steps, trainer.Step + 1);
        trainer.Schedule = trainer.Schedule with { Steps = steps, WarmupSteps = Warmup(steps) };
    }

    private TrainingStatus Status(Pace pace, long done) => new(done, pace.Steps, _steps.TakeLast(Smoothed).Average(step => step.Loss), _steps[^1].GradNorm, _steps[^1].LearningRate,
        trainer.Options.TokensPerStep / pace.SecondsPerStep, BusyShare(_steps.TakeLast(Smoothed)), trainer.Memory.Held, pace.Left);
}
