using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models.Training;

/// <summary>
/// AdamW (Loshchilov and Hutter 2019) over named parameters. Moments are fp32; f16 and bf16 parameters have an exact fp32 master copy. Everything that
/// changes between steps is in device memory, so that a captured step can be replayed.
/// </summary>
public sealed class AdamW : IDisposable
{
    /// <summary>Last parts of the names of parameters that fla flags "no weight decay".</summary>
    private static readonly HashSet<string> Flagged = new(StringComparer.Ordinal) { "A_log", "dt_bias", "D", "L", "lambda_params", "log_atk_scale" };

    private readonly List<Entry> _entries;
    private readonly AdamWSettings _settings;
    private readonly AdamWSettings _withoutDecay;
    private readonly Tensor _rate;
    private readonly Tensor _correction;
    private readonly Tensor _step;

    /// <summary>An optimizer whose moments are zero.</summary>
    /// <param name="parameters">Parameters by full name, each once, of one device.</param>
    /// <param name="settings">Constants.</param>
    /// <exception cref="TrainingException">There are no parameters.</exception>
    public AdamW(IEnumerable<KeyValuePair<string, Tensor>> parameters, AdamWSettings settings)
    {
        _settings = settings;
        _withoutDecay = settings with { WeightDecay = 0 };
        _entries = [.. parameters.Select(p => new Entry(p.Key, p.Value))];
        if (_entries.Count == 0) throw new TrainingException("there are no parameters to train");
        var device = _entries[0].Parameter.Device;
        _rate = Tensor.Zeros(device, DType.Float32, 1).Own();
        _correction = Tensor.Zeros(device, DType.Float32, 2).Own();
        _step = Tensor.Zeros(device, DType.Int32, 1).Own();
    }

    /// <summary>What has to be saved to go on later: the step counter, and per parameter both moments and, where there is one, the master copy.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> State()
    {
        yield return new("step", _step);
        foreach (var entry in _entries)
        {
            yield return new($"{entry.Name}.m", entry.M);
            yield return new($"{entry.Name}.v", entry.V);
            if (entry.Master is { } master) yield return new($"{entry.Name}.master", master);
        }
    }

    /// <summary>True when a parameter is decayed: matrices and convolutions, but no norms, biases and flagged ones.</summary>
    public static bool IsDecayed(string name, Tensor parameter) =>
        parameter.Shape.ToArray().Count(size => size > 1) > 1 && !Flagged.Contains(name[(name.LastIndexOf('.') + 1)..]);

    /// <summary>Sets the learning rate of the steps that follow, in stream order; not during a capture.</summary>
    public void SetLearningRate(double rate) => _rate.Write([(float)rate]);

    /// <summary>Clips the gradients and updates every parameter that has one.</summary>
    /// <param name="maxNorm">Limit of the norm of all gradients together; infinite for none.</param>
    /// <param name="scale">f32 [1]: what all gradients were multiplied by; 1 when null.</param>
    /// <param name="judge">May set the third number of what is returned, before anything is changed.</param>
    /// <returns>f32 [3]: the norm before clipping, the factor, and 0, or something else when the norm was not finite and so nothing was changed.</returns>
    /// <exception cref="TrainingException">No parameter has a gradient.</exception>
    public Tensor Step(double maxNorm, Tensor? scale = null, Action<Tensor>? judge = null)
    {
        var ready = _entries.Where(e => e.Parameter.Grad != null).ToList();
        if (ready.Count == 0) throw new TrainingException("no parameter has a gradient: run a backward pass first");
        var clip = Gradients.ClipNorm([.. ready.Select(e => e.Parameter.Grad!)], (float)maxNorm, scale);
        judge?.Invoke(clip);
        Optimizers.Advance(_step, _correction, _settings, clip);
        foreach (var entry in ready)
        {
            var settings = entry.IsDecayed ? _settings : _withoutDecay;
            Optimizers.AdamWStep(entry.Parameter, entry.Parameter.Grad!, entry.M, entry.V, _rate, _correction, settings, entry.Master, clip);
        }
        return clip;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var entry in _entries) entry.Dispose();
        _rate.Dispose();
        _correction.Dispose();
        _step.Dispose();
    }

    private sealed class Entry(string name, Tensor parameter) : IDisposable
    {
        public string Name { get; } = name;

        public Tensor Parameter { get; } = parameter;

        public bool IsDecayed { get; } = AdamW.IsDecayed(name, parameter);

        public Tensor M { get; } = Tensor.ZerosLike(parameter, DType.Float32).Own();

        public Tensor V { get; } = Tensor.ZerosLike(parameter, DType.Float32).Own();

        public Tensor? Master { get; } = parameter.DType == DType.Float32 ? null : Exact(parameter);

        public void Dispose()
        {
            M.Dispose();
            V.Dispose();
            Master?.Dispose();
        }

        private static Tensor Exact(Tensor parameter)
        {
            using var noGrad = Autograd.NoGrad();
            return parameter.To(DType.Float32).Own();
        }
    }
}
