using System.CommandLine;
using System.Diagnostics;
using Fla.Cli.Plots;
using Fla.Cli.Training;
using Fla.Models;
using Fla.Models.Configs;
using Fla.Models.Data;
using Fla.Models.Generation;
using Fla.Models.Tokenizers;
using Fla.Models.Training;
using Fla.Vulkan;

namespace Fla.Cli.Commands;

/// <summary><c>fla demo</c>: trains a small GLA language model in minutes, saves it, and lets it write.</summary>
internal static class DemoCommand
{
    private const int HeldOutWindows = 48;
    private const double HeldOutShare = 0.05;
    private const int HeldOutBlockWindows = 4;

    private static readonly Option<string?> Data = new("--data")
    {
        Description = "Text file to learn (default: this project's documentation and sources)",
        HelpName = "FILE",
    };
    private static readonly Option<string?> Out = new("--out", "-o")
    {
        Description = "Folder for the checkpoint and the plot (default: artifacts/demo in the repository, else fla-demo)",
        HelpName = "DIR",
    };
    private static readonly Option<double> Minutes = new("--minutes")
    {
        Description = "Time to train; the number of steps follows from the speed",
        DefaultValueFactory = _ => 3.5, HelpName = "M",
    };
    private static readonly Option<long?> Steps = new("--steps") { Description = "Steps to train, whatever time they take", HelpName = "N" };
    private static readonly Option<long> Seed = new("--seed")
    {
        Description = "Seed of weights, batches and generated text",
        DefaultValueFactory = _ => 0, HelpName = "S",
    };
    private static readonly Option<int> HiddenSize = new("--hidden-size")
    {
        Description = "Width of the model, a multiple of 64",
        DefaultValueFactory = _ => 128, HelpName = "D",
    };
    private static readonly Option<int> Layers = new("--layers") { Description = "Blocks", DefaultValueFactory = _ => 3, HelpName = "L" };
    private static readonly Option<int> BatchSize = new("--batch-size")
    {
        Description = "Windows in a step",
        DefaultValueFactory = _ => 8, HelpName = "B",
    };
    private static readonly Option<int> SequenceLength = new("--seq-len")
    {
        Description = "Bytes in a window",
        DefaultValueFactory = _ => 128, HelpName = "T",
    };
    private static readonly Option<double> LearningRate = new("--lr")
    {
        Description = "Highest learning rate",
        DefaultValueFactory = _ => 4e-3, HelpName = "LR",
    };
    private static readonly Option<string> Prompt = new("--prompt", "-p")
    {
        Description = "What the trained model continues",
        DefaultValueFactory = _ => "/// <summary>", HelpName = "TEXT",
    };
    private static readonly Option<int> MaxNewTokens = new("--max-new-tokens", "-n")
    {
        Description = "Bytes to generate",
        DefaultValueFactory = _ => 400, HelpName = "N",
    };

    public static Command Create(Terminal terminal)
    {
        var command = new Command("demo", "Trains a small GLA model on this project's own text, saves it as fla does, plots the loss, and generates text.")
        {
            Data, Out, Minutes, Steps, Seed, HiddenSize, Layers, BatchSize, SequenceLength, LearningRate, Prompt, MaxNewTokens,
        };
        command.SetAction(parsed => FlaTool.Cancellable(cancellation => Run(terminal, parsed, cancellation)));
        return command;
    }

    private static int Run(Terminal terminal, ParseResult parsed, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        var root = RepositoryFiles.FindRoot();
        var folder = parsed.GetValue(Out) ?? (root == null ? "fla-demo" : Path.Combine(root, "artifacts", "demo"));
        var tokenizer = new ByteTokenizer();
        var (train, heldOut) = LoadText(terminal, parsed, root, tokenizer);
        Directory.CreateDirectory(folder);
        using var device = ComputeDevice.Create(FlaTool.DeviceOptions(parsed));
        using var model = CausalLM.Create(device, Config(parsed, tokenizer), (ulong)parsed.GetValue(Seed));
        terminal.Note($"{model.ParameterCount / 1e6:0.00} M parameters on {device.Name}");

        using var trainer = new Trainer(model, Options(parsed));
        var run = new TrainingRun(trainer, () => trainer.RunStep(train), heldOut);
        var pace = new Pace(TimeSpan.FromMinutes(parsed.GetValue(Minutes)), parsed.GetValue(Steps));
        terminal.Note("compiling kernels");
        TrainingView.Show(terminal, report => run.Run(pace, report, cancellation));
        model.Eval();

        model.SavePretrained(folder);
        tokenizer.Save(folder);
        var plot = Path.Combine(folder, "loss.png");
        LossPlot.Save(plot, $"gla, {model.ParameterCount / 1e6:0.00} M parameters", [.. run.Steps.Select(s => (s.Step, s.Loss))], run.HeldOut);
        var (before, after) = (run.HeldOut[0].Loss, run.HeldOut[^1].Loss);
        terminal.Say($"held-out loss: {before:0.000} untrained, {after:0.000} after {trainer.Step} steps (nats per byte; {after / Math.Log(2):0.00} bits)");
        terminal.Say($"checkpoint: {folder}");
        terminal.Say($"loss curve: {plot}");
        cancellation.ThrowIfCancellationRequested();
        terminal.Say();
        Generate(terminal, parsed, model, tokenizer, cancellation);
        terminal.Note($"{clock.Elapsed:m\\:ss} in all; go on with: fla generate {folder} --prompt \"...\"");
        return 0;
    }

    private static (TextDataset Train, IReadOnlyList<ReadOnlyMemory<int>> HeldOut) LoadText(Terminal terminal, ParseResult parsed, string? root, TextTokenizer tokenizer)
    {
        IReadOnlyList<string> files = parsed.GetValue(Data) is { } data ? [data]
            : root == null ? throw new TrainingException("there is no text to learn: name a file with --data FILE")
            : RepositoryFiles.Find(root);
        var tokens = new Tokenization(tokenizer).EncodeAll(files);
        var length = parsed.GetValue(SequenceLength);
        var seed = parsed.GetValue(Seed);
        var (train, heldOut) = TextDataset.Split(tokens, HeldOutBlockWindows * length, HeldOutShare, seed);
        terminal.Note($"{(files.Count == 1 ? "one file" : $"{files.Count} files")}, {train.Length / 1000.0:N0} kB to learn, {heldOut.Length / 1000.0:N0} kB held out");
        return (new(train, length, seed), [.. new TextDataset(heldOut, length).InOrder(HeldOutWindows)]);
    }

    private static GlaConfig Config(ParseResult parsed, TextTokenizer tokenizer)
    {
        var width = parsed.GetValue(HiddenSize);
        if (width < 64 || width % 64 != 0) throw new TrainingException($"--hidden-size is a multiple of 64, not {width}");
        return new()
        {
            VocabSize = tokenizer.VocabSize,
            BosTokenId = tokenizer.BosId,
            EosTokenId = tokenizer.EosId,
            PadTokenId = tokenizer.PadId,
            HiddenSize = width,
            NumHiddenLayers = parsed.GetValue(Layers),
            NumHeads = width / 64,
            UseShortConv = true,
            MaxPositionEmbeddings = parsed.GetValue(SequenceLength),
        };
    }

    private static TrainerOptions Options(ParseResult parsed)
    {
        var steps = parsed.GetValue(Steps) ?? 1;
        return new()
        {
            BatchSize = parsed.GetValue(BatchSize),
            SequenceLength = parsed.GetValue(SequenceLength),
            Schedule = new() { Peak = parsed.GetValue(LearningRate), Steps = steps, MinRatio = 0.05, WarmupSteps = TrainingRun.Warmup(steps) },
        };
    }

    private static void Generate(Terminal terminal, ParseResult parsed, CausalLM model, TextTokenizer tokenizer, CancellationToken cancellation)
    {
        var prompt = parsed.GetValue(Prompt)!;
        var options = new GenerationOptions
        {
            MaxNewTokens = parsed.GetValue(MaxNewTokens),
            DoSample = true,
            Temperature = 0.7,
            TopP = 0.95,
            Seed = (ulong)parsed.GetValue(Seed),
            StopTokens = [],
        };
        var stream = new TextStream(terminal, tokenizer, [prompt]);
        new Generator(model).Generate([tokenizer.Encode(prompt)], options, stream.Push, cancellation);
        stream.Finish();
    }
}
