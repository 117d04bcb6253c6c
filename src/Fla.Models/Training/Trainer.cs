using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models.Training;

/// <summary>
/// Trains a language model: forward, backward, clipping and AdamW as one captured sequence that is replayed. In a step the host writes token ids and the
/// learning rate, and nothing else; losses stay on the device until they are collected.
/// </summary>
public sealed partial class Trainer : IDisposable
{
    /// <summary>Steps whose results the device keeps; the oldest has to be collected before the ring goes round.</summary>
    public const int PendingLimit = 64;

    private const int MetricCount = 4;

    private readonly CausalLM _model;
    private readonly AdamW _optimizer;
    private readonly TrainingPass[] _passes;
    private readonly Tensor _latest;
    private readonly Tensor _history;
    private readonly Queue<(long Step, double LearningRate)> _pending = [];
    private CommandGraph? _graph;

    /// <summary>A trainer at step 0 with fresh moments.</summary>
    /// <param name="model">The model; it stays the caller's, and is left in training mode.</param>
    /// <param name="options">How it is trained.</param>
    /// <exception cref="TrainingException">An option is out of range, or the model cannot have packed sequences.</exception>
    public Trainer(CausalLM model, TrainerOptions options)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        if (options.MaxSequences > 0 && !model.UsesCuSeqlens) throw new TrainingException($"{model.Config.ModelType} does not keep packed sequences apart: train it on windows");
        _model = model;
        Options = options;
        Schedule = options.Schedule;
        model.Train();
        model.UsesGradientCheckpointing = options.UsesGradientCheckpointing;
        _optimizer = new(model.NamedParameters(), options.AdamW);
        _passes = [.. Enumerable.Range(0, options.AccumulationSteps).Select(_ => new TrainingPass(model.Device, options))];
        _latest = Tensor.Zeros(model.Device, DType.Float32, MetricCount).Own();
        _history = Tensor.Zeros(model.Device, DType.Float32, PendingLimit, MetricCount).Own();
    }

    /// <summary>How the model is trained.</summary>
    public TrainerOptions Options { get; }

    /// <summary>Learning rate of each step; may be replaced while the run goes on, once its length is known.</summary>
    public LearningRateSchedule Schedule { get; set; }

    /// <summary>Steps done, or under way on the device.</summary>
    public long Step { get; private set; }

    /// <summary>Steps whose results were not collected yet.</summary>
    public int Pending => _pending.Count;

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
        var length = tokens.Length / _passes.Length;
        BeginStep();
        for (var i = 0; i < _passes.Length; i++) _passes[i].Write(tokens.Slice(i * length, length), 1f / _passes.Length);
        RunStep();
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
        BeginStep();
        for (var i = 0; i < _passes.Length; i++) _passes[i].Write(batches[i], labels[i], counts[i] / (float)counts.Sum());
        RunStep();
    }

    /// <summary>Captures the step when it is the first, and before its inputs are written: a capture runs nothing.</summary>
    private void BeginStep()
    {
        if (_pending.Count == PendingLimit) throw new TrainingException($"{PendingLimit} steps wait to be collected");
        if (Options.UseGraph) _graph ??= _model.Device.Stream.Capture(Record);
    }

    private void RunStep()
    {
        var rate = Schedule.At(Step);
        _optimizer.SetLearningRate(rate);
        if (_graph != null) _graph.Replay();
        else Record();
        using var slot = _history.Narrow((int)(Step % PendingLimit), 1);
        slot.CopyFrom(_latest);
        _pending.Enqueue((Step, rate));
        Step++;
    }

    /// <summary>Waits for the steps under way and returns what they showed, oldest first.</summary>
    /// <exception cref="TrainingException">A loss or gradient was not finite; the parameters are as before that step.</exception>
    public IReadOnlyList<StepResult> Collect()
    {
        if (_pending.Count == 0) return [];
        var values = _history.ToSingle();
        var results = new List<StepResult>(_pending.Count);
        while (_pending.TryDequeue(out var step))
        {
            var at = (int)(step.Step % PendingLimit) * MetricCount;
            results.Add(new(step.Step, values[at], values[at + 1], step.LearningRate));
            if (values[at + 3] != 0 || !float.IsFinite(values[at])) throw new TrainingException(
                $"step {step.Step}: the loss is {values[at]} and the gradient's norm {values[at + 1]}: lower the learning rate, or train in f32 or bf16");
        }
        return results;
    }

    /// <summary>Mean loss over windows, without touching gradients or parameters, in nats per token.</summary>
    /// <param name="windows">Windows of one length, at least one.</param>
    /// <exception cref="TrainingException">There are no windows.</exception>
    public double Evaluate(IEnumerable<ReadOnlyMemory<int>> windows)
    {
        using var noGrad = Autograd.NoGrad();
        _model.Eval();
        try
        {
            double sum = 0;
            var count = 0;
            foreach (var rows in windows.Chunk(Options.BatchSize))
            {
                using var scope = _model.Device.Scope();
                var ids = _model.Tokens(rows.SelectMany(row => row.ToArray()).ToArray(), rows.Length);
                sum += (double)_model.Forward(ids, new() { Labels = ids }).Loss!.Item() * rows.Length;
                count += rows.Length;
            }
            return count > 0 ? sum / count : throw new TrainingException("there are no windows to evaluate");
        }
        finally
        {
            _model.Train();
        }
    }

    /// <summary>Lets go of the captured step, the moments and the buffers; the model stays.</summary>
    public void Dispose()
    {
        _graph?.Dispose();
        _optimizer.Dispose();
        foreach (var pass in _passes) pass.Dispose();
        _latest.Dispose();
        _history.Dispose();
    }

    /// <summary>Everything that the device does in a step.</summary>
    private void Record()
    {
        using var scope = _model.Device.Scope();
        using var loss = _latest.Narrow(0, 1);
        using var clip = _latest.Narrow(1, 3);
        loss.Zero();
        foreach (var pass in _passes)
        {
            using var passScope = _model.Device.Scope();
            var result = _model.Forward(pass.Tokens, new() { Labels = pass.Labels, CuSeqlens = pass.CuSeqlens }).Loss!;
            Autograd.Backward(result, pass.Share.View(result.Shape));
            loss.Accumulate(Elementwise.Mul(result.Detach(), pass.Share.View(result.Shape)));
        }
        clip.CopyFrom(_optimizer.Step(Options.MaxGradNorm));
        _model.ClearGradients();
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
