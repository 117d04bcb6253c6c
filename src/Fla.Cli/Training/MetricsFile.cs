using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fla.Models.Training;

namespace Fla.Cli.Training;

/// <summary>metrics.jsonl of a run: a line for each step and each held-out loss.</summary>
internal sealed class MetricsFile : IDisposable
{
    /// <summary>Name of the file in the run's folder.</summary>
    public const string FileName = "metrics.jsonl";

    private const string StepField = "step";
    private const string LossField = "loss";
    private const string HeldOutField = "held_out_loss";

    private readonly StreamWriter _writer;

    /// <summary>Opens the file to append to it, without the lines of later steps than a resumed run's: they will be written again.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="resumed">Steps that were done.</param>
    public MetricsFile(string folder, long resumed)
    {
        var path = Path.Combine(folder, FileName);
        var kept = File.Exists(path) ? File.ReadLines(path).Where(line => IsBefore(line, resumed)).ToList() : [];
        File.WriteAllLines(path + ".new", kept);
        File.Move(path + ".new", path, overwrite: true);
        Steps.AddRange(kept.Select(line => JsonNode.Parse(line)).Where(n => n![LossField] != null).Select(n => ((long)n![StepField]!, (double)n[LossField]!)));
        HeldOut.AddRange(kept.Select(line => JsonNode.Parse(line)).Where(n => n![HeldOutField] != null).Select(n => ((long)n![StepField]!, (double)n[HeldOutField]!)));
        _writer = new(path, append: true, new UTF8Encoding(false));
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
        Write(row);
    }

    /// <summary>Adds a held-out loss after so many steps.</summary>
    public void AddHeldOut(long step, double loss)
    {
        HeldOut.Add((step, loss));
        Write(new() { [StepField] = step, [HeldOutField] = loss, ["perplexity"] = Math.Exp(loss) });
    }

    /// <inheritdoc/>
    public void Dispose() => _writer.Dispose();

    private static bool IsBefore(string line, long resumed)
    {
        try
        {
            // A held-out loss at the very step was taken before the checkpoint, and is taken again.
            return (long?)JsonNode.Parse(line)?[StepField] < resumed;
        }
        catch (JsonException)
        {
            // A line that was cut off when the run was killed.
            return false;
        }
    }

    /// <summary>JSON has no NaN and no infinity: null stands for them.</summary>
    private static double? Finite(double value) => double.IsFinite(value) ? value : null;

    private void Write(JsonObject row)
    {
        _writer.WriteLine(row.ToJsonString());
        _writer.Flush();
    }
}
