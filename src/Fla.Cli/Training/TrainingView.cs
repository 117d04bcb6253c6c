using System.Diagnostics;
using Spectre.Console;

namespace Fla.Cli.Training;

/// <summary>Where a run stands.</summary>
/// <param name="Step">Steps done.</param>
/// <param name="Steps">Steps of the run.</param>
/// <param name="Loss">Mean loss of the latest steps.</param>
/// <param name="GradNorm">Norm of the latest gradient.</param>
/// <param name="LearningRate">The latest learning rate.</param>
/// <param name="TokensPerSecond">Tokens that a second trains on now.</param>
/// <param name="BusyShare">Share of the time between the latest steps for which the device was busy; NaN where it cannot tell.</param>
/// <param name="Memory">Bytes of device memory held.</param>
/// <param name="Left">Time left.</param>
internal readonly record struct TrainingStatus(long Step, long Steps, double Loss, double GradNorm, double LearningRate, double TokensPerSecond, double BusyShare, long Memory, TimeSpan Left)
{
    /// <summary>What fits beside a bar.</summary>
    public string Short => $"{Step}/{Steps}  loss {Loss:0.000}  {TokensPerSecond:N0} tokens/s  {Time(Left)} left";

    /// <summary>Everything, in one line.</summary>
    public string Line => $"step {Step}/{Steps}  loss {Loss:0.000}  lr {LearningRate:0.0e+0}  norm {GradNorm:0.00}  {TokensPerSecond:N0} tokens/s  {Busy}{Memory / 1e9:0.00} GB  {Time(Left)} left";

    private string Busy => double.IsNaN(BusyShare) ? "" : $"{100 * BusyShare:0} % busy  ";

    private static string Time(TimeSpan time) => time.TotalHours >= 1 ? $"{(long)time.TotalHours}:{time:mm\\:ss}" : $"{time:m\\:ss}";
}

/// <summary>Shows how a run goes on: a bar that moves where a person watches, a line now and then in a log.</summary>
internal static class TrainingView
{
    private const int BarWidth = 20;

    /// <summary>Columns of a console on which everything fits beside a bar.</summary>
    private const int Wide = 150;

    private static readonly TimeSpan LogInterval = TimeSpan.FromSeconds(10);

    /// <summary>Runs some work that reports its status as often as it likes.</summary>
    public static void Show(Terminal terminal, Action<Action<TrainingStatus>> work)
    {
        if (terminal.IsInteractive) ShowBar(terminal, work);
        else ShowLines(terminal, work);
    }

    private static void ShowBar(Terminal terminal, Action<Action<TrainingStatus>> work) => terminal.Error.Progress()
        .Columns(new ProgressBarColumn { Width = BarWidth }, new PercentageColumn(), new TaskDescriptionColumn { Alignment = Justify.Left })
        .Start(context =>
        {
            var task = context.AddTask("measuring", maxValue: 1);
            work(status =>
            {
                task.Value = status.Steps > 0 ? (double)status.Step / status.Steps : 0;
                task.Description = Markup.Escape(terminal.Error.Profile.Width >= Wide ? status.Line : status.Short);
            });
            task.Value = 1;
        });

    private static void ShowLines(Terminal terminal, Action<Action<TrainingStatus>> work)
    {
        var clock = Stopwatch.StartNew();
        var last = -LogInterval;
        work(status =>
        {
            if (clock.Elapsed - last < LogInterval && status.Step < status.Steps) return;
            last = clock.Elapsed;
            terminal.Note(status.Line);
        });
    }
}
