using System.Diagnostics;
using Fla.Models.Evaluation;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models.Training;

/// <summary>
/// Trains a language model: forward, backward, clipping and AdamW as one captured sequence that is replayed. In a step the host writes token ids and the
/// learning rate, and nothing else; what a step shows is collected late, when the device has long begun the next.
/// </summary>
public sealed partial class Trainer : IDisposable
{
    /// <summary>Steps whose results the device keeps; the oldest has to be collected before the ring goes round.</summary>
    public const int PendingLimit = 64;

    private const int MetricCount = 5;

    private readonly CausalLM _model;
    private readonly AdamW _optimizer;
    private readonly TrainingPass[] _passes;
    private readonly StepGuard _guard;
    private readonly bool _isScaled;
    private readonly Tensor _latest;
    private readonly ResultRing _results;
    private readonly Queue<StepUnderWay> _pending = [];
    private CommandGraph? _graph;
    private double _lastEnd;
    private bool _isContinuous;

    private sealed record StepUnderWay(long Step, double LearningRate, Action WriteInputs, bool IsContinuous)
    {
        public int Slot => (int)(Step % PendingLimit);

        public double HostSeconds { get; set; }
    }

    /// <summary>A trainer at step 0 with fresh moments.</summary>
    /// <param name="model">The model; it stays the caller's, and is left in training mode.</param>
    /// <param name="options">How it is trained.</param>
    /// <exception cref="TrainingException">An option is out of range, or the model cannot have packed sequences.</exception>
    /// <exception cref="FlaException">The teacher has another vocabulary, float type or device.</exception>
    public Trainer(CausalLM model, TrainerOptions options)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        if (options.MaxSequences > 0 && !model.UsesCuSeqlens) throw new TrainingException($"{model.Config.ModelType} does not keep packed sequences apart: train it on windows");
        _model = model;
        Options = options;
        Schedule = options.Schedule;
        if (options.Loss.Teacher is { } teacher) model.CheckTeacher(teacher);
        var scale = options.LossScale ?? (model.DType == DType.Float16 ? LossScale.Dynamic : LossScale.None);
        _isScaled = scale.IsOn;
        model.Train();
        model.UsesGradientCheckpointing = options.UsesGradientCheckpointing;
        _optimizer = new(model.NamedParameters(), options.AdamW);
        _passes = [.. Enumerable.Range(0, options.AccumulationSteps).Select(_ => new TrainingPass(model.Device, options))];
        _guard = new(model.Device, scale);
        _latest = Tensor.Zeros(model.Device, DType.Float32, MetricCount).Own();
        _results = new(model.Device, PendingLimit, MetricCount);
    }

    /// <summary>How the model is trained.</summary>
    public TrainerOptions Options { get; }

    /// <summary>Learning rate of each step; may be replaced while the run goes on, once its length is known.</summary>
    public LearningRateSchedule Schedule { get; set; }

    /// <summary>Steps done, or under way on the device.</summary>
    public long Step { get; private set; }

    /// <summary>Steps whose results were not collected yet.</summary>
    public int Pending => _pending.Count;

    /// <summary>Memory of the device.</summary>
    public MemoryStatistics Memory => _model.Device.Memory;

    /// <summary>Starts the next step on samples of a dataset; does not wait for it. Samples follow from the step's number.</summary>
    /// <exception cref="TrainingException">The dataset has windows of another length, or <see cref="PendingLimit"/> steps wait to be collected.</exception>
    public void RunStep(TextDataset data)
    {
        ArgumentNullException.ThrowIfNull(data);
        if (data.Length != Options.SequenceLength) throw new TrainingException($"the dataset has windows of {data.Length} tokens, the trainer of {Options.SequenceLength}");
        var batch = new int[Options.TokensPerStep];
        data.Fill(Step * (batch.Length / data.Length), batch);
        RunStep(batch);
    }

    /// <summary>Starts the next step on the given tokens; does not wait for it.</summary>
    /// <param name="tokens">[AccumulationSteps, B, T] row-major.</param>
    /// <exception cref="TrainingException">Not so many tokens, or <see cref="PendingLimit"/> steps wait to be collected.</exception>
    /// <exception cref="TokenIdException">A token is not in the vocabulary.</exception>
    public void RunStep(ReadOnlySpan<int> tokens)
    {
        if (Options.MaxSequences > 0) throw new TrainingException("a trainer of packed sequences takes packed batches");
        if (tokens.Length != Options.TokensPerStep) throw new TrainingException($"{tokens.Length} tokens were given for a step of {Options.TokensPerStep}");
        CheckTokens(tokens);
        var kept = tokens.ToArray();
        var length = kept.Length / _passes.Length;
        Start(() =>
        {
            for (var i = 0; i < _passes.Length; i++) _passes[i].Write(kept.AsSpan(i * length, length), 1f / _passes.Length);
        });
    }

    /// <summary>Starts the next step on packed sequences; does not wait for it. Its loss is the mean over all tokens that have one to predict.</summary>
    /// <param name="batches">One for each of the AccumulationSteps, of B · T tokens and as many boundaries as there is room for.</param>
    /// <exception cref="TrainingException">Batches of another size, or <see cref="PendingLimit"/> steps wait to be collected.</exception>
    /// <exception cref="TokenIdException">A token is not in the vocabulary.</exception>
    public void RunStep(IReadOnlyList<PackedBatch> batches)
    {
        ArgumentNullException.ThrowIfNull(batches);
        if (Options.MaxSequences == 0) throw new TrainingException("a trainer of windows takes no packed batches: set MaxSequences");
        if (batches.Count != _passes.Length) throw new TrainingException($"{batches.Count} batches were given for a step of {_passes.Length} passes");
        foreach (var batch in batches)
        {
            if (batch.Boundaries.Length != Options.MaxSequences + 1 || batch.Tokens.Length != Options.BatchSize * Options.SequenceLength) throw new TrainingException(
                $"a batch of {batch.Tokens.Length} tokens in {batch.Boundaries.Length - 1} sequences does not fit a pass of {Options.BatchSize * Options.SequenceLength} in {Options.MaxSequences}");
            CheckTokens(batch.Tokens);
        }
        var labels = batches.Select(batch => batch.Labels()).ToList();
        var counts = labels.ConvertAll(row => row.Count(label => label >= 0));
        if (counts.Contains(0)) throw new TrainingException("a batch has no token that follows another: nothing to predict");
        Start(() =>
        {
            for (var i = 0; i < _passes.Length; i++) _passes[i].Write(batches[i], labels[i], counts[i] / (float)counts.Sum());
        });
    }

    /// <summary>Returns what steps showed that are done, oldest first. With some left under way, the device never waits for the host.</summary>
    /// <param name="leave">Waits until no more than so many are under way; 0 waits for all.</param>
    /// <exception cref="NonFiniteException">
    /// A loss or gradient was not finite. That step and all after it changed nothing: parameters and trainer are as before it.
    /// </exception>
    public IReadOnlyList<StepResult> Collect(int leave = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(leave);
        var results = new List<StepResult>();
        while (_pending.TryPeek(out var step) && (_pending.Count > leave || _results.IsDone(step.Slot)))
        {
            var values = _results.Read(step.Slot);
            var verdict = (StepVerdict)values[3];
            if (verdict is StepVerdict.Stopped or StepVerdict.AfterStop)
            {
                // Those before it are told first.
                if (results.Count > 0) break;
                throw Stop(step, values[0], values[1]);
            }
            _pending.Dequeue();
            results.Add(new(step.Step, values[0], values[1], step.LearningRate) { IsSkipped = verdict == StepVerdict.Skipped, LossScale = values[4], Timing = Timing(step) });
        }
        return results;
    }

    /// <summary>Mean loss over sequences, without touching gradients or parameters, in nats per predicted token.</summary>
    /// <param name="sequences">Sequences of 2 to T tokens, at least one.</param>
    /// <exception cref="TrainingException">There are no sequences.</exception>
    /// <exception cref="ShapeException">A sequence is longer, or too short.</exception>
    public double Evaluate(IEnumerable<ReadOnlyMemory<int>> sequences)
    {
        _isContinuous = false;
        var evaluator = new PerplexityEvaluator(_model, new() { BlockSize = Options.SequenceLength, BatchSize = Options.BatchSize, IsFused = Options.Loss.IsFused });
        var result = evaluator.Evaluate(sequences);
        return result.Tokens > 0 ? result.Loss : throw new TrainingException("there are no windows to evaluate");
    }

    /// <summary>Tells that something else than steps comes next: the time until the next step is not counted as idle.</summary>
    public void Pause() => _isContinuous = false;

    /// <summary>Lets go of the captured step, the moments and the buffers; the model stays.</summary>
    public void Dispose()
    {
        _graph?.Dispose();
        _optimizer.Dispose();
        foreach (var pass in _passes) pass.Dispose();
        _guard.Dispose();
        _latest.Dispose();
        _results.Dispose();
    }

    /// <summary>Everything that the device does in a step.</summary>
    private void Record()
    {
        using var scope = _model.Device.Scope();
        using var loss = _latest.Narrow(0, 1);
        using var clip = _latest.Narrow(1, 3);
        using var scale = _latest.Narrow(4, 1);
        scale.CopyFrom(_guard.Scale);
        RunPasses(loss);
        clip.CopyFrom(_optimizer.Step(Options.MaxGradNorm, _isScaled ? _guard.Scale : null, result => _guard.Judge(result, loss)));
        _model.ClearGradients();
    }

    /// <summary>Forward and backward over all tokens of a step; the mean loss goes to <paramref name="loss"/>, f32 [1].</summary>
    private void RunPasses(Tensor loss)
    {
        loss.Zero();
        if (SumsExactly(_model.DType, Options)) foreach (var parameter in _model.Parameters()) parameter.Grad = Tensor.ZerosLike(parameter, DType.Float32);
        foreach (var pass in _passes)
        {
            using var passScope = _model.Device.Scope();
            var result = Forward(pass);
            var share = pass.Share.View(result.Shape);
            Autograd.Backward(result, _isScaled ? Elementwise.Mul(share, _guard.Scale.View(result.Shape)) : share);
            loss.Accumulate(Elementwise.Mul(result.Detach(), share));
        }
    }

    /// <summary>Whether the gradients of several passes are added up in f32: half precision would lose the small ones.</summary>
    internal static bool SumsExactly(DType type, TrainerOptions options) => type != DType.Float32 && options.AccumulationSteps > 1;

    private Tensor Forward(TrainingPass pass) =>
        _model.Forward(pass.Tokens, new() { Labels = pass.Labels, CuSeqlens = pass.CuSeqlens, Loss = Options.Loss }).Loss!;

    /// <summary>Goes through a forward pass, inside a rehearsal.</summary>
    /// <returns>Bytes that it keeps for the backward pass.</returns>
    internal long RehearseForward(MemoryStatistics memory)
    {
        var before = memory.Used;
        using var scope = _model.Device.Scope();
        _ = Forward(_passes[0]);
        return memory.Used - before;
    }

    /// <summary>Goes through a step and an evaluation, inside a rehearsal.</summary>
    internal void RehearseStep()
    {
        Start(() => { });
        Evaluate(Enumerable.Repeat<ReadOnlyMemory<int>>(new int[Options.SequenceLength], Options.BatchSize));
    }

    /// <summary>Starts a step whose inputs are written so: now, and again if it turns out to be broken.</summary>
    private void Start(Action writeInputs)
    {
        if (_pending.Count == PendingLimit) throw new TrainingException($"{PendingLimit} steps wait to be collected");
        var clock = Stopwatch.GetTimestamp();
        // Before anything of the step is on its way: a capture takes long, and runs nothing.
        if (Options.UseGraph) _graph ??= _model.Device.Stream.Capture(Record);
        var step = new StepUnderWay(Step, Schedule.At(Step), writeInputs, _isContinuous);
        _results.Begin(step.Slot);
        writeInputs();
        _optimizer.SetLearningRate(step.LearningRate);
        if (_graph != null) _graph.Replay();
        else Record();
        _results.End(step.Slot, _latest);
        step.HostSeconds = Stopwatch.GetElapsedTime(clock).TotalSeconds;
        _pending.Enqueue(step);
        _isContinuous = true;
        Step++;
    }

    private StepTiming Timing(StepUnderWay step)
    {
        var (begin, end) = _results.Times(step.Slot);
        var idle = step.IsContinuous ? begin - _lastEnd : double.NaN;
        _lastEnd = end;
        return new(end - begin, idle, step.HostSeconds);
    }

    private void CheckTokens(ReadOnlySpan<int> tokens)
    {
        var size = _model.Config.VocabSize;
        for (var i = 0; i < tokens.Length; i++)
        {
            if ((uint)tokens[i] >= (uint)size) throw new TokenIdException(tokens[i], i, size);
        }
    }
}
