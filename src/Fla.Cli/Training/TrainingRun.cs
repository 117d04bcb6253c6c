using System.Diagnostics;
using Fla.Models.Training;

namespace Fla.Cli.Training;

/// <summary>Steps of a trainer until the time or the number of steps is used up, with held-out losses on the way.</summary>
/// <param name="trainer">The trainer; its schedule follows the number of steps.</param>
/// <param name="train">Text to train on.</param>
/// <param name="heldOut">Windows that are never trained on.</param>
internal sealed class TrainingRun(Trainer trainer, TextDataset train, IReadOnlyList<ReadOnlyMemory<int>> heldOut)
{
    private const int Evaluations = 5;
    private const int WarmupSteps = 20;
    private const double WarmupShare = 0.05;

    private static readonly TimeSpan CollectInterval = TimeSpan.FromSeconds(0.25);

    private readonly List<StepResult> _steps = [];
    private readonly List<(long Step, double Loss)> _heldOut = [];

    /// <summary>What every step showed.</summary>
    public IReadOnlyList<StepResult> Steps => _steps;

    /// <summary>Held-out losses by the number of steps done, the first of them before training.</summary>
    public IReadOnlyList<(long Step, double Loss)> HeldOut => _heldOut;

    /// <summary>Trains.</summary>
    /// <param name="pace">How long.</param>
    /// <param name="report">Told where the run stands.</param>
    /// <param name="cancellation">Ends the run early, after the steps under way.</param>
    public void Run(Pace pace, Action<TrainingStatus> report, CancellationToken cancellation)
    {
        Evaluate();
        // The first step compiles the kernels: it is no measure of the others.
        Advance();
        _steps.AddRange(trainer.Collect());
        var clock = Stopwatch.StartNew();
        var (collected, evaluated) = (TimeSpan.Zero, 0);
        while (!cancellation.IsCancellationRequested && (pace.Steps == 0 || trainer.Step < pace.Steps))
        {
            Advance();
            if (trainer.Pending < Trainer.PendingLimit && clock.Elapsed - collected < CollectInterval && pace.SecondsPerStep < CollectInterval.TotalSeconds
                && trainer.Step < pace.Steps) continue;
            _steps.AddRange(trainer.Collect());
            collected = clock.Elapsed;
            pace.Measure(trainer.Step - 1, collected);
            Reschedule(pace.Steps);
            report(new(trainer.Step, pace.Steps, Recent(), trainer.Options.TokensPerStep / pace.SecondsPerStep, pace.Left));
            if (trainer.Step * Evaluations / Math.Max(1, pace.Steps) <= evaluated || trainer.Step >= pace.Steps) continue;
            evaluated++;
            Evaluate();
            pace.Skip(clock.Elapsed);
        }
        _steps.AddRange(trainer.Collect());
        Evaluate();
    }

    private void Advance() => trainer.RunStep(train);

    private void Evaluate() => _heldOut.Add((trainer.Step, trainer.Evaluate(heldOut)));

    private void Reschedule(long steps)
    {
        steps = Math.Max(steps, trainer.Step + 1);
        trainer.Schedule = trainer.Schedule with { Steps = steps, WarmupSteps = Math.Min(WarmupSteps, (long)(steps * WarmupShare)) };
    }

    private double Recent() => _steps.TakeLast(10).Average(step => step.Loss);
}
