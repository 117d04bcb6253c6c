using System.Diagnostics;
using System.Globalization;
using Fla.Models;
using Fla.Models.Configs;
using Fla.Models.Training;
using Fla.Vulkan;
using Fla.Vulkan.Ops;
using Spectre.Console;

namespace Fla.Cli.Benchmarks;

/// <summary><c>fla bench --model</c>: a model with random weights reads a prompt, decodes and trains, each beside what the device allows.</summary>
internal static class ModelBench
{
    private const int TrainingSteps = 5;

    private static readonly Dictionary<string, Func<ModelConfig>> Named = new(StringComparer.Ordinal)
    {
        ["gla-1.3b"] = () => new GlaConfig { NumHeads = 8 },
        ["gla-340m"] = () => new GlaConfig { HiddenSize = 1024, NumHeads = 4 },
        ["gla-tiny"] = () => new GlaConfig { HiddenSize = 64, NumHiddenLayers = 2, NumHeads = 2, VocabSize = 256 },
    };

    /// <summary>What --model takes.</summary>
    public static string Names => $"{string.Join(", ", Named.Keys)}, or the path of a config.json";

    /// <summary>Measures and writes a table.</summary>
    /// <param name="terminal">Where it is written.</param>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of weights and activations.</param>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="prompt">Tokens of the prompt, and of a training step.</param>
    /// <param name="isProfiled">Whether to list the kernels of a decoding step.</param>
    /// <param name="cancel">Stops between the parts.</param>
    public static int Write(Terminal terminal, ComputeDevice device, DType type, string name, int prompt, bool isProfiled, CancellationToken cancel)
    {
        var config = Named.TryGetValue(name, out var create) ? create() : ModelConfig.Load(name);
        var roofs = BenchRoofs.Measure(device, type);
        var machine = roofs.Describe(device, type);
        terminal.Note($"{name}: making weights");
        using var model = CausalLM.Create(device, config, dtype: type);
        var parameters = model.ParameterCount;
        var bytes = parameters * (double)type.Size();
        var ids = Enumerable.Range(0, prompt).Select(i => i * 31 % config.VocabSize).ToArray();
        var table = Terminal.Table($"{name}, {parameters / 1e6:0} M parameters, {type.ShortName()} | {machine.Device}, {machine.Driver}, Vulkan {machine.Vulkan}, {machine.System}",
            "What", "ms", "tokens/s", "of roof");
        void Row(string what, double milliseconds, double tokens, Work work) => table.AddRow(what, Text("0.000", milliseconds), tokens > 0 ? Text("0", 1000 * tokens / milliseconds) : "",
            tokens > 0 ? Text("0%", roofs.Floor(work) / milliseconds) : "");

        var products = 2.0 * prompt * parameters;
        Row($"prefill of {prompt} tokens", Prefill(model, ids), prompt, new(bytes, products));
        cancel.ThrowIfCancellationRequested();
        var decode = DecodeBench.Run(model, ids[..Math.Min(prompt, 128)], isProfiled ? terminal : null);
        var step = new Work(bytes, 2.0 * parameters);
        Row("decode, batch 1", decode.Token, 1, step);
        Row($"the same without the host in between: {decode.Dispatches} dispatches, {decode.Barriers} barriers", decode.Device, 1, step);
        Row("host time to submit a captured step", decode.Submit, 0, default);
        cancel.ThrowIfCancellationRequested();
        Row($"training step of {prompt} tokens", Train(model, ids), prompt, new(bytes, 3 * products));
        terminal.Out.Write(table);
        return 0;
    }

    private static double Prefill(CausalLM model, int[] ids)
    {
        using var off = Autograd.NoGrad();
        using var scope = model.Device.Scope();
        var tokens = model.Tokens(ids);
        return BenchTimer.RunUncaptured(model.Device, () =>
        {
            using var cache = model.NewCache();
            model.Forward(tokens, new() { Cache = cache, LogitsToKeep = 1 });
        }).Median;
    }

    private static double Train(CausalLM model, int[] ids)
    {
        model.Train();
        using var trainer = new Trainer(model, new() { BatchSize = 1, SequenceLength = ids.Length, Schedule = new() { Kind = ScheduleKind.Constant, Peak = 1e-5, Steps = 1000 } });
        void Step()
        {
            trainer.RunStep(ids);
            trainer.Collect();
        }
        Step();
        Step();
        var times = new double[TrainingSteps];
        for (var i = 0; i < TrainingSteps; i++)
        {
            var start = Stopwatch.GetTimestamp();
            Step();
            times[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        }
        Array.Sort(times);
        return times[TrainingSteps / 2];
    }

    private static string Text(string format, double value) => value.ToString(format, CultureInfo.InvariantCulture);
}
