using Fla.Vulkan;

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
    private readonly Tensor[] _tokens;
    private readonly Tensor _latest;
    private readonly Tensor _history;
    private readonly Queue<(long Step, double LearningRate)> _pending = [];
    private CommandGraph? _graph;

    /// <summary>A trainer at step 0 with fresh moments.</summary>
    /// <param name="model">The model; it stays the caller's, and is left in training mode.</param>
    /// <param name="options">How it is trained.</param>
    /// <exception cref="TrainingException">An option is out of range.</exception>
    public Trainer(CausalLM model, TrainerOptions options)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        _model = model;
        Options = options;
        Schedule = options.Schedule;
        model.Train();
        model.UsesGradientCheckpointing = options.UsesGradientCheckpointing;
        _optimizer = new(model.NamedParameters(), options.AdamW);
        _tokens = [.. Enumerable.Range(0, options.AccumulationSteps).Select(_ => Tensor.Zeros(model.Device, DType.Int32, options.BatchSize, options.SequenceLength).Own())];
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
        if (tokens.Length != Options.TokensPerStep) throw new TrainingException($"{tokens.Length} tokens were given for a step of {Options.TokensPerStep}");
        if (_pending.Count == PendingLimit) throw new TrainingException($"{PendingLimit} steps wait to be collected");
        CheckTokens(tokens);
        var pass = tokens.Length / _tokens.Length;
        for (var i = 0; i < _tokens.Length; i++) _tokens[i].Write(tokens.Slice(i * pass, pass));
        var rate = Schedule.At(Step);
        _optimizer.SetLearningRate(rate);
        if (!Options.UseGraph) Record();
        else
        {
            _graph ??= _model.Device.Stream.Capture(Record);
            _graph.Replay();
        }
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
        foreach (var tokens in _tokens) tokens.Dispose();
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
        var share = 1f / _tokens.Length;
        foreach (var tokens in _tokens)
        {
            using var pass = _model.Device.Scope();
            var result = _model.Forward(tokens, new() { Labels = tokens }).Loss!;
            Autograd.Backward(result, Tensor.Full(_model.Device, result.DType, share, result.Shape));
            loss.Accumulate(result.Detach(), share);
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
