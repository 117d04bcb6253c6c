using Fla.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch;

/// <summary>Weights of any TorchSharp module in files for and from Python: safetensors, and state dicts of <c>torch.save</c>.</summary>
public static class WeightFiles
{
    private static readonly (StoredType Stored, ScalarType Scalar)[] Types =
    [
        (StoredType.Bool, ScalarType.Bool), (StoredType.UInt8, ScalarType.Byte), (StoredType.Int8, ScalarType.Int8), (StoredType.Int16, ScalarType.Int16),
        (StoredType.Float16, ScalarType.Float16), (StoredType.BFloat16, ScalarType.BFloat16), (StoredType.Int32, ScalarType.Int32),
        (StoredType.Float32, ScalarType.Float32), (StoredType.Float64, ScalarType.Float64), (StoredType.Int64, ScalarType.Int64),
    ];

    /// <summary>Saves a module's state dict; a tensor with two names is saved under its first.</summary>
    /// <param name="module">Any module.</param>
    /// <param name="path">The file to create or replace.</param>
    /// <exception cref="CheckpointException">An element type that the format lacks, or the disk refuses.</exception>
    public static void save_safetensors(this nn.Module module, string path)
    {
        ArgumentNullException.ThrowIfNull(module);
        SafetensorsWriter.Write(path, module.state_dict().DistinctBy(entry => entry.Value.Handle).Select(entry => Entry(path, entry.Key, entry.Value)));
    }

    /// <summary>Saves a module's state dict for <c>torch.load</c>; a tensor with two names has both, and is stored once.</summary>
    /// <param name="module">Any module.</param>
    /// <param name="path">The file to create or replace.</param>
    /// <exception cref="CheckpointException">An element type that is not saved, or the disk refuses.</exception>
    public static void save_pickle(this nn.Module module, string path)
    {
        ArgumentNullException.ThrowIfNull(module);
        var first = new Dictionary<nint, string>();
        var aliases = new Dictionary<string, string>();
        var tensors = new List<TensorData>();
        foreach (var (key, tensor) in module.state_dict())
        {
            if (first.TryAdd(tensor.Handle, key)) tensors.Add(Entry(path, key, tensor));
            else aliases.Add(key, first[tensor.Handle]);
        }
        PytorchWriter.Write(path, tensors, aliases);
    }

    /// <summary>Loads a safetensors state dict into a module, converting between element types where they differ.</summary>
    /// <param name="module">Any module.</param>
    /// <param name="path">A file, or a model's folder.</param>
    /// <exception cref="CheckpointException">A malformed file; a key that is missing, too much, or of another shape. Nothing was changed then.</exception>
    public static void load_safetensors(this nn.Module module, string path) => Load(module, path, Directory.Exists(path) ? Checkpoint.Open(path) : SafetensorsFile.Open(path));

    /// <summary>As <see cref="load_safetensors"/>, from <c>torch.save(module.state_dict(), path)</c>. Nothing in the file is run; what is no dict of tensors is refused.</summary>
    /// <param name="module">Any module.</param>
    /// <param name="path">A file, or a model's folder.</param>
    /// <exception cref="CheckpointException">A malformed file, or one that asks for more than tensors; a key that is missing, too much, or of another shape. Nothing was changed then.</exception>
    public static void load_pickle(this nn.Module module, string path) => Load(module, path, Directory.Exists(path) ? Checkpoint.Open(path) : PytorchFile.Open(path));

    private static void Load(nn.Module module, string path, TensorSource source)
    {
        using var opened = source;
        ArgumentNullException.ThrowIfNull(module);
        var state = module.state_dict();
        var filled = source.Tensors.Keys.Where(state.ContainsKey).Select(key => state[key].Handle).ToHashSet();
        foreach (var (key, info) in source.Tensors)
        {
            if (!state.TryGetValue(key, out var target)) throw new CheckpointException("not in the module", path, key);
            if (!info.Shape.SequenceEqual(target.shape)) throw new CheckpointException($"is [{string.Join(", ", info.Shape)}], in the module [{string.Join(", ", target.shape)}]", path, key);
        }
        foreach (var (key, target) in state)
        {
            if (!filled.Contains(target.Handle)) throw new CheckpointException("in the module, but not in the file", path, key);
        }
        using var grad = torch.no_grad();
        foreach (var (key, info) in source.Tensors)
        {
            using var read = torch.empty([.. info.Shape], dtype: Types.First(t => t.Stored == info.Type).Scalar);
            if (info.ElementCount > 0) source.CopyTo(key, 0, read.bytes);
            state[key].copy_(read);
        }
    }

    private static TensorData Entry(string path, string key, Tensor tensor)
    {
        var index = Array.FindIndex(Types, t => t.Scalar == tensor.dtype);
        if (index < 0) throw new CheckpointException($"holds {tensor.dtype}, which safetensors files cannot", path, key);
        return new(key, Types[index].Stored, tensor.shape, stream =>
        {
            using var grad = torch.no_grad();
            using var local = tensor.cpu();
            using var dense = local.contiguous();
            stream.Write(dense.bytes);
        });
    }
}
