using System.Text.Json.Nodes;
using Fla.Models.Training;

namespace Fla.Cli.Training;

/// <summary>
/// metrics.jsonl of a run. A line for each step: step, counted from 0; loss in nats per token; grad_norm before clipping; lr; with loss scaling loss_scale
/// and skipped; tokens_per_second; device_seconds that it ran; idle_seconds for which the device had waited for it; host_seconds to start it; memory held on
/// the device, in bytes. A line for each evaluation: step, the number of steps done; held_out_loss; perplexity. What is not finite is null.
/// </summary>
internal sealed class MetricsFile : IDisposable
{
    /// <summary>Name of the file in the run's folder.</summary>
    public const string FileName = "metrics.jsonl";

    private const string StepField = JsonLinesFile.StepField;
    private const string LossField = "loss";
    private const string HeldOutField = "held_out_loss";

    private readonly JsonLinesFile _file;

    /// <summary>Opens the file to append to it.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="resumed">Steps that were done; a held-out loss after as many was taken before the checkpoint, and is taken again.</param>
    public MetricsFile(string folder, long resumed)
    {
        _file = new(Path.Combine(folder, FileName), resumed);
        Steps.AddRange(_file.Kept.Where(row => row[LossField] != null).Select(row => ((long)row[StepField]!, (double)row[LossField]!)));
        HeldOut.AddRange(_file.Kept.Where(row => row[HeldOutField] != null).Select(row => ((long)row[StepField]!, (double)row[HeldOutField]!)));
    }

    /// <summary>Losses of all steps in the file.</summary>
    public List<(long Step, double Loss)> Steps { get; } = [];

    /// <summary>Held-out losses in the file.</summary>
    public List<(long Step, double Loss)> HeldOut { get; } = [];

    /// <summary>Adds a step.</summary>
    /// <param name="step">What it showed.</param>
    /// <param name="tokens">Tokens that it saw.</param>
    /// <param name="memory">Bytes of device memory held.</param>
    public void Add(StepResult step, long tokens, long memory)
    {
        Steps.Add((step.Step, step.Loss));
        var row = new JsonObject { [StepField] = step.Step, [LossField] = step.Loss, ["grad_norm"] = Finite(step.GradNorm), ["lr"] = step.LearningRate };
        if (step.LossScale != 1) (row["loss_scale"], row["skipped"]) = (step.LossScale, step.IsSkipped);
        row["tokens_per_second"] = Finite(tokens / (step.Timing.Device + step.Timing.Idle));
        row["device_seconds"] = Finite(step.Timing.Device);
        row["idle_seconds"] = Finite(step.Timing.Idle);
        row["host_seconds"] = step.Timing.Host;
        row["memory"] = memory;
        _file.Write(row);
    }

    /// <summary>Adds a held-out loss after so many steps.</summary>
    public void AddHeldOut(long step, double loss)
    {
        HeldOut.Add((step, loss));
        _file.Write(new() { [StepField] = step, [HeldOutField] = loss, ["perplexity"] = Math.Exp(loss) });
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    /// <summary>JSON has no NaN and no infinity: null stands for them.</summary>
    private static double? Finite(double value) => double.IsFinite(value) ? value : null;
}
