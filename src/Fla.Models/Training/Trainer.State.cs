using System.Globalization;
using Fla.Models.Checkpoints;
using Fla.Vulkan;

namespace Fla.Models.Training;

public sealed partial class Trainer
{
    /// <summary>Name of the file beside model.safetensors that holds the optimizer's state.</summary>
    public const string StateFileName = "optimizer.safetensors";

    private const string StepKey = "step";

    /// <summary>
    /// Writes the model as fla does (config.json, model.safetensors) and, beside it, all that a run needs to go on as if it had never stopped. Results
    /// have to be collected before.
    /// </summary>
    /// <param name="folder">Created when missing.</param>
    /// <exception cref="TrainingException">There are results to collect.</exception>
    /// <exception cref="CheckpointException">The disk refuses.</exception>
    public void Save(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        if (_pending.Count > 0) throw new TrainingException($"{_pending.Count} steps are not collected yet: nobody knows whether they are sound");
        _isContinuous = false;
        _model.SavePretrained(folder);
        var metadata = new Dictionary<string, string> { ["format"] = "pt", [StepKey] = Step.ToString(CultureInfo.InvariantCulture) };
        SafetensorsWriter.Write(Path.Combine(folder, StateFileName), State().Select(Stored), metadata);
    }

    /// <summary>Takes up a run that <see cref="Save"/> wrote: parameters, moments, step. The options have to be the same for the same results.</summary>
    /// <param name="folder">What was written.</param>
    /// <exception cref="CheckpointException">Files that are missing, malformed, or of another model.</exception>
    public void Load(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        using var state = SafetensorsFile.Open(Path.Combine(folder, StateFileName));
        var tensors = State().ToList();
        foreach (var (name, tensor) in tensors) CheckState(state, name, tensor);
        if (state.Tensors.Count != tensors.Count) throw new CheckpointException($"holds {state.Tensors.Count} tensors, the optimizer has {tensors.Count}", state.Location);
        if (!state.Metadata.TryGetValue(StepKey, out var text) || !long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var step))
        {
            throw new CheckpointException("its metadata does not tell the step", state.Location);
        }
        using (var weights = Checkpoint.Open(Path.Combine(folder, Checkpoint.FileName))) WeightLoader.Load(_model, weights);
        foreach (var (name, tensor) in tensors) tensor.WriteBytes(state.ReadBytes(name));
        _pending.Clear();
        _guard.Release();
        _isContinuous = false;
        Step = step;
    }

    private IEnumerable<KeyValuePair<string, Tensor>> State() => _optimizer.State().Concat(_guard.State());

    private static TensorData Stored(KeyValuePair<string, Tensor> entry) =>
        new(entry.Key, StoredType(entry.Value), Shape(entry.Value), stream => stream.Write(entry.Value.ToBytes()));

    private static void CheckState(SafetensorsFile state, string name, Tensor tensor)
    {
        var info = state.Info(name);
        if (info.Type != StoredType(tensor) || !info.Shape.SequenceEqual(Shape(tensor)))
        {
            throw new CheckpointException($"is {info.Type.Tag()} [{string.Join(", ", info.Shape)}], the optimizer needs {tensor.Describe()}", state.Location, name);
        }
    }

    private static StoredType StoredType(Tensor tensor) => tensor.DType == DType.Int32 ? Checkpoints.StoredType.Int32 : Checkpoints.StoredType.Float32;

    private static long[] Shape(Tensor tensor) => Array.ConvertAll(tensor.Shape.ToArray(), size => (long)size);
}
