using System.CommandLine;
using Fla.Cli.Plots;
using Fla.Cli.Training;
using Fla.Models;
using Fla.Models.Configs;
using Fla.Models.Data;
using Fla.Models.Tokenizers;
using Fla.Models.Training;
using Fla.Vulkan;
using Spectre.Console;

namespace Fla.Cli.Commands;

/// <summary><c>fla train</c>: trains any model of this library on text, from nothing or from a checkpoint.</summary>
internal static class TrainCommand
{
    private const int PromptTokens = 16;
    private const int ShownCharacters = 160;
    private const int ProfileRows = 40;

    private static readonly List<(string Group, Option Option, Action<ParseResult, TrainSettings> Apply)> Flags = [];

    private static string _group = "";

    private static readonly Option<string> Out = new("--out", "-o")
    {
        Description = "Folder of the run: checkpoints step-NNNNNN, train.json, metrics.jsonl, samples.jsonl, loss.png, tokens, events for TensorBoard",
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
        _group = "Text";
        Flag<string?>("--data", "FILE|DIR", "Text file, .jsonl, .parquet, tokens (.bin, such as another run's tokens.bin), or a folder of any of them", (s, v) => s.Data = v);
        Flag<string>("--text-field", "NAME", $"Field of .jsonl, or column of .parquet, that holds the text (default: {d.TextField})", (s, v) => s.TextField = v);
        Flag<string?>("--tokenizer", "DIR", "Folder with a tokenizer.json (default: that of --init, else bytes)", (s, v) => s.Tokenizer = v);
        Flag<int>("--seq-len", "T", $"Tokens in the longest sequence; documents are packed, longer ones cut (default: {d.SeqLen})", (s, v) => s.SeqLen = v);
        Flag<int>("--batch-size", "B", $"A forward pass takes B x T tokens (default: {d.BatchSize})", (s, v) => s.BatchSize = v);
        Flag<int>("--accumulation", "N", $"Forward passes in a step (default: {d.Accumulation})", (s, v) => s.Accumulation = v);
        Flag<double>("--held-out", "X", $"Share of the text that is only evaluated; 0 for none (default: {d.HeldOut})", (s, v) => s.HeldOut = v);
        Flag<long>("--seed", "S", $"Seed of weights, of the order of the text, and of samples (default: {d.Seed})", (s, v) => s.Seed = v);
        _group = "Model";
        Flag<string>("--model", "NAME|CONFIG", $"Family ({string.Join(", ", Models.Configs.ModelConfig.Families)}) or a config.json (default: {d.Model})", (s, v) => s.Model = v);
        Flag<string?>("--init", "DIR", "Checkpoint to start from instead of fresh weights", (s, v) => s.Init = v);
        Flag<int>("--hidden-size", "D", $"Width of the model, where --model is a name (default: {d.HiddenSize})", (s, v) => s.HiddenSize = v);
        Flag<int>("--layers", "L", $"Blocks (default: {d.Layers})", (s, v) => s.Layers = v);
        Flag<int>("--heads", "H", "Heads (default: D/64, from 1024 on D/256)", (s, v) => s.Heads = v);
        Flag<string>("--dtype", "f32|bf16|f16", $"Float type of parameters and activations; below f32 AdamW keeps exact copies (default: {d.Dtype})", (s, v) => s.Dtype = v);
        _group = "Optimisation";
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
        _group = "Loss and memory";
        Flag<bool>("--activation-checkpointing", "", "Recompute blocks in the backward pass: less memory, a third more time", (s, v) => s.ActivationCheckpointing = v);
        Flag<bool>("--fused-loss", "true|false", "Never hold the logits of all tokens: less memory, and less of it moved (default: true)", (s, v) => s.FusedLoss = v);
        Flag<float>("--label-smoothing", "X", $"Share of each target spread over the vocabulary (default: {d.LabelSmoothing})", (s, v) => s.LabelSmoothing = v);
        Flag<float>("--z-loss", "X", $"Factor of the squared log of the softmax's denominator, such as 1e-4 (default: {d.ZLoss})", (s, v) => s.ZLoss = v);
        Flag<string?>("--teacher", "DIR", "Checkpoint of the same vocabulary whose predictions are imitated (distillation)", (s, v) => s.Teacher = v);
        Flag<float>("--distill-weight", "X", $"Share of the imitation in the loss (default: {d.DistillWeight})", (s, v) => s.DistillWeight = v);
        Flag<float>("--temperature", "X", $"What both models' logits are divided by for it (default: {d.Temperature})", (s, v) => s.Temperature = v);
        Flag<float>("--loss-scale", "X", $"First scale of the loss in f16; it halves with each overflow (default: {d.LossScale})", (s, v) => s.LossScale = v);
        Flag<int>("--loss-scale-growth", "N", $"Steps without overflow after which it doubles (default: {d.LossScaleGrowth})", (s, v) => s.LossScaleGrowth = v);
        _group = "What the run tells and keeps";
        Flag<long>("--eval-every", "N", $"Steps between evaluations (default: {d.EvalEvery})", (s, v) => s.EvalEvery = v);
        Flag<int>("--held-out-windows", "N", $"An evaluation takes at most N x T tokens of what is held out (default: {d.HeldOutWindows})", (s, v) => s.HeldOutWindows = v);
        Flag<long>("--sample-every", "N", $"Steps between texts that the model writes; 0 for none (default: {d.SampleEvery})", (s, v) => s.SampleEvery = v);
        Flag<string?>("--prompt", "TEXT", "What it goes on from (default: the beginning of a held-out text)", (s, v) => s.Prompt = v);
        Flag<int>("--sample-tokens", "N", $"At most so many new tokens (default: {d.SampleTokens})", (s, v) => s.SampleTokens = v);
        Flag<long>("--save-every", "N", $"Steps between checkpoints; 0 for none, not even at the end (default: {d.SaveEvery})", (s, v) => s.SaveEvery = v);
        Flag<int>("--keep-last", "N", $"Checkpoints to keep; 0 keeps all (default: {d.KeepLast})", (s, v) => s.KeepLast = v);
    }

    public static Command Create(Terminal terminal)
    {
        var command = new GroupedCommand("train",
            "Trains a model on text. The run can be killed at any moment and resumed, to the same parameters bit for bit; all settings are also fields of one JSON file (--config).",
            ("fla train --data book.txt --out runs/a", "bytes of a text, a GLA of 8 blocks and width 512"),
            ("fla train --data corpus/ --out runs/b --model retnet --tokenizer DIR --dtype bf16 --seq-len 2048", "a folder of text, .jsonl and .parquet, with a tokenizer"),
            ("fla train --data runs/b/tokens.bin --out runs/c --init runs/b/step-001000 --lr 1e-4", "on from a checkpoint as a new run, with text that is tokenized already"),
            ("fla train --out runs/a --resume", "after Ctrl-C, a crash or a power cut"),
            ("tensorboard --logdir runs", "the curves of all runs"));
        command.AddGroup("Run", [Out, Resume, ConfigFile, ProfileFile]);
        foreach (var group in Flags.GroupBy(flag => flag.Group)) command.AddGroup(group.Key, group.Select(flag => flag.Option));
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
        if (settings.EvalEvery < 1) throw new TrainingException($"--eval-every is at least 1, not {settings.EvalEvery}");
        if (settings.SaveEvery < 0 || settings.SampleEvery < 0) throw new TrainingException("--save-every and --sample-every are at least 0");
        if (settings.SampleTokens < 1) throw new TrainingException($"--sample-tokens is at least 1, not {settings.SampleTokens}");
        if (settings.HeldOutWindows < 1) throw new TrainingException($"--held-out-windows is at least 1, not {settings.HeldOutWindows}; --held-out 0 holds nothing out");
        if (settings.Data == null) throw new TrainingException("there is no text to learn: name it with --data");
        settings.TrainerOptions(maxSequences: 0).Validate();
        var tokenizer = TokenizerFolder(settings) is { } from ? TextTokenizer.Load(from) : TrainingData.HasText(settings, runs.Folder, resume) ? new ByteTokenizer() : null;
        using var data = TrainingData.Open(terminal, settings, tokenizer, runs.Folder, resume, cancellation);

        using var device = ComputeDevice.Create(FlaTool.DeviceOptions(parsed));
        var type = settings.FloatType();
        var config = settings.Init == null ? settings.ModelConfig(tokenizer, data.VocabSize) : ModelConfig.Load(settings.Init);
        if (config.VocabSize < data.VocabSize) throw new ConfigException($"{config.VocabSize} is less than the data's {data.VocabSize}", "vocab_size", settings.Init);
        var isPacked = CausalLM.KeepsSequencesApart(device, config);
        if (!isPacked) terminal.Note($"{config.ModelType} cannot tell packed documents apart: they run into one another");
        var maxSequences = isPacked ? data.Train.MaxSequences : 0;
        var memory = TrainingMemory.Require(device, config, type, settings.TrainerOptions(maxSequences), TeacherConfig(settings, tokenizer));
        terminal.Note(Describe(memory));
        using var teacher = settings.Teacher == null ? null : CausalLM.FromPretrained(settings.Teacher, device, type);
        using var model = settings.Init == null ? CausalLM.Create(device, config, (ulong)settings.Seed, type) : CausalLM.FromPretrained(settings.Init, device, type);
        using var trainer = new Trainer(model, settings.TrainerOptions(maxSequences, teacher));
        if (resume) trainer.Load(runs.PathOf(runs.Steps[^1]));
        settings.Save(runs.Folder);
        terminal.Note($"{model.Config.ModelType}, {model.ParameterCount / 1e6:0.00} M parameters in {type.ShortName()} on {device.Name}; "
            + $"{trainer.Options.TokensPerStep:N0} tokens a step{(resume ? $"; from step {trainer.Step}" : "")}");

        using var metrics = new MetricsFile(runs.Folder, trainer.Step);
        using var board = new TensorBoardFile(runs.Folder, trainer.Step);
        using var samples = Samples(terminal, settings, data, tokenizer, (model, trainer, runs.Folder), board);
        using var batches = new PackedBatches(data.Train, trainer.Step * settings.Accumulation);
        var run = new TrainingRun(trainer, () => RunStep(trainer, batches), data.HeldOut)
        {
            EvaluateEvery = settings.EvalEvery,
            SampleEvery = samples == null ? null : settings.SampleEvery,
            Sample = () => samples!.Write(),
            SaveEvery = settings.SaveEvery == 0 ? null : settings.SaveEvery,
            Save = () => runs.Save(trainer, folder => SaveTokenizer(settings, tokenizer, folder), settings.KeepLast),
            OnStep = step =>
            {
                metrics.Add(step, trainer.Options.TokensPerStep, device.Memory.Held);
                board.Add(step.Step, ("train/loss", step.Loss), ("train/lr", step.LearningRate), ("train/grad_norm", step.GradNorm),
                    ("train/tokens_per_second", trainer.Options.TokensPerStep / (step.Timing.Device + step.Timing.Idle)));
            },
            OnHeldOut = (step, loss) =>
            {
                metrics.AddHeldOut(step, loss);
                board.Add(step, ("held_out/loss", loss), ("held_out/perplexity", Math.Exp(loss)));
            },
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
        foreach (var (_, option, apply) in Flags)
        {
            if (parsed.GetResult(option) is { Implicit: false }) apply(parsed, settings);
        }
        return settings;
    }

    /// <summary>Where the tokenizer is; null for bytes, or for tokens that none is known of.</summary>
    private static string? TokenizerFolder(TrainSettings settings) => settings.Tokenizer ?? settings.Init;

    private static void RunStep(Trainer trainer, PackedBatches batches)
    {
        var next = batches.Take(trainer.Options.AccumulationSteps);
        if (trainer.Options.MaxSequences > 0) trainer.RunStep(next);
        else trainer.RunStep(next.SelectMany(batch => batch.Tokens).ToArray());
    }

    private static SampleWriter? Samples(Terminal terminal, TrainSettings settings, TrainingData data, TextTokenizer? tokenizer,
        (CausalLM Model, Trainer Trainer, string Folder) run, TensorBoardFile board)
    {
        if (settings.SampleEvery == 0 || tokenizer == null) return null;
        var beginning = data.HeldOut.Count > 0 ? data.HeldOut[0].ToArray() : [];
        var prompt = settings.Prompt != null || beginning.Length == 0 ? tokenizer.Encode(settings.Prompt ?? "") : beginning[..Math.Min(PromptTokens, beginning.Length)];
        if (prompt.Length == 0) return null;
        return new(run.Folder, run.Trainer, run.Model, tokenizer)
        {
            Prompts = [prompt],
            MaxNewTokens = settings.SampleTokens,
            Seed = (ulong)settings.Seed,
            OnSample = (step, before, after) =>
            {
                terminal.Note($"after {step} steps: {OneLine(before)}|{OneLine(after)}");
                board.Add(step, "sample", before + after);
            },
            OnFailure = message => terminal.Note($"the model cannot write, training goes on without samples: {message}"),
        };
    }

    private static string OneLine(string text)
    {
        var line = string.Concat(text.ReplaceLineEndings(" ").Where(c => !char.IsControl(c)));
        return line.Length <= ShownCharacters ? line : line[..ShownCharacters] + "…";
    }

    private static ModelConfig? TeacherConfig(TrainSettings settings, TextTokenizer? tokenizer)
    {
        if (settings.Teacher is not { } folder) return null;
        if (tokenizer == null) throw new TrainingException("whether the teacher has the vocabulary of the data cannot be told without its tokenizer: give it with --tokenizer");
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

    private static void SaveTokenizer(TrainSettings settings, TextTokenizer? tokenizer, string folder)
    {
        if (tokenizer is ByteTokenizer bytes)
        {
            bytes.Save(folder);
            return;
        }
        if (tokenizer == null) return;
        foreach (var file in Directory.EnumerateFiles(TokenizerFolder(settings)!, "*tokenizer*.json")) File.Copy(file, Path.Combine(folder, Path.GetFileName(file)), overwrite: true);
    }

    private static void Flag<T>(string name, string value, string description, Action<TrainSettings, T> set)
    {
        var option = new Option<T>(name) { Description = description, HelpName = value };
        Flags.Add((_group, option, (parsed, settings) => set(settings, parsed.GetValue(option)!)));
    }
}
