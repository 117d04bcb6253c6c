using System.CommandLine;
using Fla.Cli.Plots;
using Fla.Cli.Training;
using Fla.Models;
using Fla.Models.Configs;
using Fla.Models.Tokenizers;
using Fla.Models.Training;
using Fla.Vulkan;
using Spectre.Console;

namespace Fla.Cli.Commands;

/// <summary><c>fla train</c>: trains any model of this library on text, from nothing or from a checkpoint.</summary>
internal static class TrainCommand
{
    private const int HeldOutBlockWindows = 4;
    private const int ProfileRows = 40;

    private static readonly List<(Option Option, Action<ParseResult, TrainSettings> Apply)> Flags = [];

    private static readonly Option<string> Out = new("--out", "-o")
    {
        Description = "Folder of the run: checkpoints step-NNNNNN, train.json, metrics.jsonl, loss.png",
        HelpName = "DIR", Required = true,
    };
    private static readonly Option<bool> Resume = new("--resume")
    {
        Description = "Go on from the last checkpoint in the folder, with its train.json; the parameters become those of a run that never stopped",
    };
    private static readonly Option<string?> ConfigFile = new("--config")
    {
        Description = "Settings from a file such as a run's train.json; flags come before it",
        HelpName = "FILE",
    };

    private static readonly Option<string?> ProfileFile = new("--profile")
    {
        Description = "At the end, time every kernel of one more step: a table, and a trace for Perfetto in this file",
        HelpName = "FILE",
    };

    static TrainCommand()
    {
        var d = new TrainSettings();
        Flag<string?>("--data", "FILE|DIR", "Text to learn: a text file, a .jsonl file with a field \"text\", or a folder of them", (s, v) => s.Data = v);
        Flag<string?>("--tokenizer", "DIR", "Folder with a tokenizer.json (default: bytes)", (s, v) => s.Tokenizer = v);
        Flag<string>("--model", "NAME|CONFIG", $"Family such as gla, retnet, linear_attn, or a config.json (default: {d.Model})", (s, v) => s.Model = v);
        Flag<string?>("--init", "DIR", "Checkpoint to start from instead of fresh weights", (s, v) => s.Init = v);
        Flag<int>("--hidden-size", "D", $"Width of the model, where --model is a name (default: {d.HiddenSize})", (s, v) => s.HiddenSize = v);
        Flag<int>("--layers", "L", $"Blocks (default: {d.Layers})", (s, v) => s.Layers = v);
        Flag<int>("--heads", "H", "Heads (default: D/64, from 1024 on D/256)", (s, v) => s.Heads = v);
        Flag<string>("--dtype", "f32|bf16|f16", $"Float type of parameters and activations; below f32 AdamW keeps exact copies (default: {d.Dtype})", (s, v) => s.Dtype = v);
        Flag<int>("--batch-size", "B", $"Windows in a forward pass (default: {d.BatchSize})", (s, v) => s.BatchSize = v);
        Flag<int>("--seq-len", "T", $"Tokens in a window (default: {d.SeqLen})", (s, v) => s.SeqLen = v);
        Flag<int>("--accumulation", "N", $"Forward passes in a step (default: {d.Accumulation})", (s, v) => s.Accumulation = v);
        Flag<long>("--steps", "N", $"Steps (default: {d.Steps})", (s, v) => s.Steps = v);
        Flag<double>("--lr", "LR", $"Highest learning rate (default: {d.Lr})", (s, v) => s.Lr = v);
        Flag<ScheduleKind>("--schedule", "KIND", "cosine, linear, wsd or constant, after the warm-up (default: cosine)", (s, v) => s.Schedule = v);
        Flag<long>("--warmup", "N", $"Steps over which the rate rises (default: {d.Warmup})", (s, v) => s.Warmup = v);
        Flag<double>("--min-lr-ratio", "X", $"Lowest rate as a share of the highest (default: {d.MinLrRatio})", (s, v) => s.MinLrRatio = v);
        Flag<double>("--decay-ratio", "X", $"Share of the steps over which wsd falls (default: {d.DecayRatio})", (s, v) => s.DecayRatio = v);
        Flag<double>("--weight-decay", "X", $"Decay of matrices; norms and biases have none (default: {d.WeightDecay})", (s, v) => s.WeightDecay = v);
        Flag<double>("--beta1", "X", $"AdamW's memory of gradients (default: {d.Beta1})", (s, v) => s.Beta1 = v);
        Flag<double>("--beta2", "X", $"AdamW's memory of their squares (default: {d.Beta2})", (s, v) => s.Beta2 = v);
        Flag<double>("--max-grad-norm", "X", $"Longer gradients are shortened to this (default: {d.MaxGradNorm})", (s, v) => s.MaxGradNorm = v);
        Flag<bool>("--activation-checkpointing", "", "Recompute blocks in the backward pass: less memory, a third more time", (s, v) => s.ActivationCheckpointing = v);
        Flag<bool>("--fused-loss", "true|false", "Never hold the logits of all tokens: less memory, and less of it moved (default: true)", (s, v) => s.FusedLoss = v);
        Flag<float>("--label-smoothing", "X", $"Share of each target spread over the vocabulary (default: {d.LabelSmoothing})", (s, v) => s.LabelSmoothing = v);
        Flag<float>("--z-loss", "X", $"Factor of the squared log of the softmax's denominator, such as 1e-4 (default: {d.ZLoss})", (s, v) => s.ZLoss = v);
        Flag<string?>("--teacher", "DIR", "Checkpoint of the same vocabulary whose predictions are imitated (distillation)", (s, v) => s.Teacher = v);
        Flag<float>("--distill-weight", "X", $"Share of the imitation in the loss (default: {d.DistillWeight})", (s, v) => s.DistillWeight = v);
        Flag<float>("--temperature", "X", $"What both models' logits are divided by for it (default: {d.Temperature})", (s, v) => s.Temperature = v);
        Flag<float>("--loss-scale", "X", $"First scale of the loss in f16; it halves with each overflow (default: {d.LossScale})", (s, v) => s.LossScale = v);
        Flag<int>("--loss-scale-growth", "N", $"Steps without overflow after which it doubles (default: {d.LossScaleGrowth})", (s, v) => s.LossScaleGrowth = v);
        Flag<double>("--held-out", "X", $"Share of the text that is only evaluated; 0 for none (default: {d.HeldOut})", (s, v) => s.HeldOut = v);
        Flag<int>("--held-out-windows", "N", $"Windows of it that an evaluation takes (default: {d.HeldOutWindows})", (s, v) => s.HeldOutWindows = v);
        Flag<long>("--eval-every", "N", $"Steps between evaluations (default: {d.EvalEvery})", (s, v) => s.EvalEvery = v);
        Flag<long>("--save-every", "N", $"Steps between checkpoints; 0 for none, not even at the end (default: {d.SaveEvery})", (s, v) => s.SaveEvery = v);
        Flag<int>("--keep-last", "N", $"Checkpoints to keep; 0 keeps all (default: {d.KeepLast})", (s, v) => s.KeepLast = v);
        Flag<long>("--seed", "S", $"Seed of weights and of the order of the text (default: {d.Seed})", (s, v) => s.Seed = v);
    }

    public static Command Create(Terminal terminal)
    {
        var command = new Command("train", "Trains a model on text. The run can be killed at any moment and resumed.") { Out, Resume, ConfigFile, ProfileFile };
        foreach (var (option, _) in Flags) command.Add(option);
        command.Validators.Add(result =>
        {
            if (result.GetResult(Resume) != null && result.GetResult(ConfigFile) != null) result.AddError("--resume takes the settings of the run: give no --config");
        });
        command.SetAction(parsed => FlaTool.Cancellable(cancellation => Run(terminal, parsed, cancellation)));
        return command;
    }

    private static int Run(Terminal terminal, ParseResult parsed, CancellationToken cancellation)
    {
        var runs = new RunFolder(parsed.GetValue(Out)!);
        var resume = parsed.GetValue(Resume);
        if (resume && runs.Steps.Count == 0) throw new TrainingException($"there is no checkpoint to go on from in {runs.Folder}");
        if (!resume && runs.Steps.Count > 0) throw new TrainingException($"{runs.Folder} holds a run at step {runs.Steps[^1]}: go on with --resume, or choose another --out");
        var settings = Settings(parsed, resume ? Path.Combine(runs.Folder, TrainSettings.FileName) : parsed.GetValue(ConfigFile));
        if (settings.EvalEvery < 1 || settings.SaveEvery < 0) throw new TrainingException("--eval-every is at least 1, --save-every at least 0");
        var tokenizer = settings.Tokenizer == null ? new ByteTokenizer() : TextTokenizer.Load(settings.Tokenizer);
        var (train, heldOut) = Text(terminal, settings, tokenizer);

        using var device = ComputeDevice.Create(FlaTool.DeviceOptions(parsed));
        var type = settings.FloatType();
        var config = settings.Init == null ? settings.ModelConfig(tokenizer) : ModelConfig.Load(settings.Init);
        var memory = TrainingMemory.Require(device, config, type, settings.TrainerOptions(), TeacherConfig(settings, tokenizer));
        terminal.Note(Describe(memory));
        using var teacher = settings.Teacher == null ? null : CausalLM.FromPretrained(settings.Teacher, device, type);
        using var model = settings.Init == null ? CausalLM.Create(device, config, (ulong)settings.Seed, type) : CausalLM.FromPretrained(settings.Init, device, type);
        using var trainer = new Trainer(model, settings.TrainerOptions(teacher));
        if (resume) trainer.Load(runs.PathOf(runs.Steps[^1]));
        settings.Save(runs.Folder);
        terminal.Note($"{model.Config.ModelType}, {model.ParameterCount / 1e6:0.00} M parameters in {type.ShortName()} on {device.Name}; "
            + $"{trainer.Options.TokensPerStep:N0} tokens a step{(resume ? $"; from step {trainer.Step}" : "")}");

        using var metrics = new MetricsFile(runs.Folder, trainer.Step);
        var run = new TrainingRun(trainer, train, heldOut)
        {
            EvaluateEvery = settings.EvalEvery,
            SaveEvery = settings.SaveEvery == 0 ? null : settings.SaveEvery,
            Save = () => runs.Save(trainer, folder => SaveTokenizer(settings, tokenizer, folder), settings.KeepLast),
            OnStep = step => metrics.Add(step, trainer.Options.TokensPerStep, device.Memory.Held),
            OnHeldOut = metrics.AddHeldOut,
        };
        TrainingView.Show(terminal, report => run.Run(new(TimeSpan.Zero, settings.Steps), report, cancellation));

        if (run.Steps.Count > 0) terminal.Note(run.Summary());
        if (metrics.Steps.Count > 0)
        {
            LossPlot.Save(Path.Combine(runs.Folder, "loss.png"), $"{model.Config.ModelType}, {model.ParameterCount / 1e6:0.00} M parameters", metrics.Steps, metrics.HeldOut);
        }
        if (run.HeldOut.Count > 0) terminal.Say($"held-out loss: {run.HeldOut[^1].Loss:0.0000}, perplexity {Math.Exp(run.HeldOut[^1].Loss):0.000}, after {trainer.Step} steps");
        if (runs.Steps.Count > 0) terminal.Say($"checkpoint: {runs.PathOf(runs.Steps[^1])}");
        cancellation.ThrowIfCancellationRequested();
        if (parsed.GetValue(ProfileFile) is { } file) Profile(terminal, trainer, file);
        return 0;
    }

    private static void Profile(Terminal terminal, Trainer trainer, string file)
    {
        using var profile = trainer.ProfileStep();
        profile.WriteChromeTrace(file);
        var totals = profile.Totals();
        var sum = totals.Sum(t => t.Total);
        var table = Terminal.Table($"{sum / 1e6:0.00} ms of {profile.Entries.Count} kernels in a step", "kernel", "ms", "share", "launches");
        foreach (var (kernel, total, count) in totals.Take(ProfileRows)) table.AddRow(Markup.Escape(kernel), $"{total / 1e6:0.000}", $"{100 * total / sum:0.0} %", $"{count}");
        terminal.Out.Write(table);
    }

    private static TrainSettings Settings(ParseResult parsed, string? file)
    {
        var settings = file == null ? new() : TrainSettings.Load(file);
        foreach (var (option, apply) in Flags)
        {
            if (parsed.GetResult(option) is { Implicit: false }) apply(parsed, settings);
        }
        return settings;
    }

    private static (TextDataset Train, IReadOnlyList<ReadOnlyMemory<int>> HeldOut) Text(Terminal terminal, TrainSettings settings, TextTokenizer tokenizer)
    {
        var path = settings.Data ?? throw new TrainingException("there is no text to learn: name it with --data");
        string[] files = Directory.Exists(path) ? [.. Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)] : [path];
        var tokens = SourceText.Tokens(files, tokenizer);
        terminal.Note($"{tokens.Length:N0} tokens in {(files.Length == 1 ? "one file" : $"{files.Length} files")}");
        if (settings.HeldOut == 0) return (new(tokens, settings.SeqLen, settings.Seed), []);
        if (!(settings.HeldOut is > 0 and < 1)) throw new TrainingException($"--held-out is a share from 0 to below 1, not {settings.HeldOut}");
        var (train, heldOut) = TextDataset.Split(tokens, HeldOutBlockWindows * settings.SeqLen, settings.HeldOut, settings.Seed);
        return (new(train, settings.SeqLen, settings.Seed), [.. new TextDataset(heldOut, settings.SeqLen).InOrder(settings.HeldOutWindows)]);
    }

    private static ModelConfig? TeacherConfig(TrainSettings settings, TextTokenizer tokenizer)
    {
        if (settings.Teacher is not { } folder) return null;
        if (!TextTokenizer.Load(folder).HasVocabularyOf(tokenizer)) throw new TrainingException($"the teacher in {folder} has another vocabulary than the tokenizer: give its tokenizer with --tokenizer");
        return ModelConfig.Load(folder);
    }

    private static string Describe(TrainingMemory memory)
    {
        var teacher = memory.Teacher == 0 ? "" : $"teacher {Gigabytes(memory.Teacher)}, ";
        return $"memory: {Gigabytes(memory.Held)} GB predicted ({teacher}parameters {Gigabytes(memory.Parameters)}, optimizer {Gigabytes(memory.Optimizer)}, gradients {Gigabytes(memory.Gradients)}, "
            + $"activations {Gigabytes(memory.Activations)}, workspace {Gigabytes(memory.Workspace)})";

        static string Gigabytes(long bytes) => $"{bytes / 1e9:0.00}";
    }

    private static void SaveTokenizer(TrainSettings settings, TextTokenizer tokenizer, string folder)
    {
        if (tokenizer is ByteTokenizer bytes)
        {
            bytes.Save(folder);
            return;
        }
        foreach (var file in Directory.EnumerateFiles(settings.Tokenizer!, "*tokenizer*.json")) File.Copy(file, Path.Combine(folder, Path.GetFileName(file)), overwrite: true);
    }

    private static void Flag<T>(string name, string value, string description, Action<TrainSettings, T> set)
    {
        var option = new Option<T>(name) { Description = description, HelpName = value };
        Flags.Add((option, (parsed, settings) => set(settings, parsed.GetValue(option)!)));
    }
}
