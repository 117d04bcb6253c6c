using System.CommandLine;
using Fla.Cli.Plots;
using Fla.Cli.Training;
using Fla.Models;
using Fla.Models.Tokenizers;
using Fla.Models.Training;
using Fla.Vulkan;

namespace Fla.Cli.Commands;

/// <summary><c>fla train</c>: trains any model of this library on text, from nothing or from a checkpoint.</summary>
internal static class TrainCommand
{
    private const int HeldOutBlockWindows = 4;

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
        Flag<bool>("--fused-loss", "", "Never hold all logits: less memory with a large vocabulary", (s, v) => s.FusedLoss = v);
        Flag<double>("--held-out", "X", $"Share of the text that is only evaluated; 0 for none (default: {d.HeldOut})", (s, v) => s.HeldOut = v);
        Flag<int>("--held-out-windows", "N", $"Windows of it that an evaluation takes (default: {d.HeldOutWindows})", (s, v) => s.HeldOutWindows = v);
        Flag<long>("--eval-every", "N", $"Steps between evaluations (default: {d.EvalEvery})", (s, v) => s.EvalEvery = v);
        Flag<long>("--save-every", "N", $"Steps between checkpoints (default: {d.SaveEvery})", (s, v) => s.SaveEvery = v);
        Flag<int>("--keep-last", "N", $"Checkpoints to keep; 0 keeps all (default: {d.KeepLast})", (s, v) => s.KeepLast = v);
        Flag<long>("--seed", "S", $"Seed of weights and of the order of the text (default: {d.Seed})", (s, v) => s.Seed = v);
    }

    public static Command Create(Terminal terminal)
    {
        var command = new Command("train", "Trains a model on text. The run can be killed at any moment and resumed.") { Out, Resume, ConfigFile };
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
        if (settings.EvalEvery < 1 || settings.SaveEvery < 1) throw new TrainingException("--eval-every and --save-every are at least 1");
        var tokenizer = settings.Tokenizer == null ? new ByteTokenizer() : TextTokenizer.Load(settings.Tokenizer);
        var (train, heldOut) = Text(terminal, settings, tokenizer);

        using var device = ComputeDevice.Create(FlaTool.DeviceOptions(parsed));
        using var model = settings.Init == null ? CausalLM.Create(device, settings.ModelConfig(tokenizer), (ulong)settings.Seed, settings.FloatType())
            : CausalLM.FromPretrained(settings.Init, device, settings.FloatType());
        using var trainer = new Trainer(model, settings.TrainerOptions());
        if (resume) trainer.Load(runs.PathOf(runs.Steps[^1]));
        settings.Save(runs.Folder);
        terminal.Note($"{model.Config.ModelType}, {model.ParameterCount / 1e6:0.00} M parameters in {settings.FloatType().ShortName()} on {device.Name}; "
            + $"{trainer.Options.TokensPerStep:N0} tokens a step{(resume ? $"; from step {trainer.Step}" : "")}");

        using var metrics = new MetricsFile(runs.Folder, trainer.Step);
        var run = new TrainingRun(trainer, train, heldOut)
        {
            EvaluateEvery = settings.EvalEvery,
            SaveEvery = settings.SaveEvery,
            Save = () => runs.Save(trainer, folder => SaveTokenizer(settings, tokenizer, folder), settings.KeepLast),
            OnStep = metrics.Add,
            OnHeldOut = metrics.AddHeldOut,
        };
        TrainingView.Show(terminal, report => run.Run(new(TimeSpan.Zero, settings.Steps), report, cancellation));

        if (metrics.Steps.Count > 0)
        {
            LossPlot.Save(Path.Combine(runs.Folder, "loss.png"), $"{model.Config.ModelType}, {model.ParameterCount / 1e6:0.00} M parameters", metrics.Steps, metrics.HeldOut);
        }
        if (run.HeldOut.Count > 0) terminal.Say($"held-out loss: {run.HeldOut[^1].Loss:0.0000}, perplexity {Math.Exp(run.HeldOut[^1].Loss):0.000}, after {trainer.Step} steps");
        terminal.Say($"checkpoint: {runs.PathOf(runs.Steps[^1])}");
        cancellation.ThrowIfCancellationRequested();
        return 0;
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
