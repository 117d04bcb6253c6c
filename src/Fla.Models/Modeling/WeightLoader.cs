using Fla.Layers;
using Fla.Models.Checkpoints;
using Fla.Vulkan;

namespace Fla.Models;

/// <summary>Fills a module's parameters from a checkpoint, key by key.</summary>
internal static class WeightLoader
{
    private const int NamedKeys = 8;

    /// <summary>Loads all parameters; one that has several names needs to be there under one of them.</summary>
    /// <param name="module">Whose parameters.</param>
    /// <param name="checkpoint">The file.</param>
    /// <param name="prefix">A beginning of keys that the file leaves out.</param>
    /// <param name="olderKey">Where files of an older layout have a parameter, or null.</param>
    /// <exception cref="CheckpointException">Keys that are missing, too many, of another shape, or no floats.</exception>
    public static void Load(Module module, Checkpoint checkpoint, string prefix = "", Func<string, StackedKey?>? olderKey = null)
    {
        var known = new HashSet<string>(StringComparer.Ordinal);
        var missing = new List<string>();
        var sources = new List<(Tensor Parameter, string Key)>();
        var rows = new List<(Tensor Parameter, StackedKey Place)>();
        foreach (var names in module.StateDict().GroupBy(entry => entry.Value, entry => FileKey(entry.Key)))
        {
            known.UnionWith(names);
            if (names.FirstOrDefault(checkpoint.Contains) is { } key) sources.Add((names.Key, key));
            else if (olderKey?.Invoke(names.First()) is { } older && checkpoint.Contains(older.Key))
            {
                known.Add(older.Key);
                rows.Add((names.Key, older));
            }
            else missing.Add(names.First());
        }
        var extra = checkpoint.Tensors.Keys.Where(key => !known.Contains(key)).Order(StringComparer.Ordinal).ToList();
        if (missing.Count + extra.Count > 0)
        {
            string[] problems = [.. Say("missing", missing), .. Say("not part of the model", extra)];
            throw new CheckpointException(string.Join("; ", problems), checkpoint.Location, missing.Concat(extra).First());
        }
        foreach (var (parameter, key) in sources) CheckShape(checkpoint, key, parameter.Shape);
        foreach (var (parameter, place) in rows) CheckShape(checkpoint, place.Key, [place.Rows, checked((int)parameter.Count)]);
        foreach (var (parameter, key) in sources)
        {
            var info = checkpoint.Info(key);
            if (info.Type != StoredType.Float64 && TypeOf(info) == parameter.DType) parameter.WriteBytes(checkpoint.ReadBytes(key));
            else parameter.Write(checkpoint.ReadSingle(key));
        }
        foreach (var (parameter, place) in rows)
        {
            var count = checked((int)parameter.Count);
            parameter.Write(checkpoint.ReadSingle(place.Key).AsSpan(place.Row * count, count));
        }

        string FileKey(string key) => key.StartsWith(prefix, StringComparison.Ordinal) ? key[prefix.Length..] : key;

        static IEnumerable<string> Say(string what, List<string> keys)
        {
            if (keys.Count > 0) yield return $"{keys.Count} {what}: {string.Join(", ", keys.Take(NamedKeys))}{(keys.Count > NamedKeys ? ", ..." : "")}";
        }
    }

    /// <exception cref="CheckpointException">The tensor is not there, has another shape, or holds no floats.</exception>
    public static void CheckShape(Checkpoint checkpoint, string key, ReadOnlySpan<int> expected)
    {
        var info = checkpoint.Info(key);
        var shape = Array.ConvertAll(expected.ToArray(), size => (long)size);
        if (!info.Shape.SequenceEqual(shape))
        {
            throw new CheckpointException($"has the shape [{string.Join(", ", info.Shape)}], the model needs [{string.Join(", ", shape)}]", checkpoint.Location, key);
        }
        if (!info.Type.IsFloatingPoint()) throw new CheckpointException($"is {info.Type.Tag()}, not a floating-point type", checkpoint.Location, key);
    }

    /// <summary>The float type that holds a stored one best.</summary>
    public static DType TypeOf(TensorInfo info) => info.Type switch
    {
        StoredType.Float16 => DType.Float16,
        StoredType.BFloat16 => DType.BFloat16,
        _ => DType.Float32,
    };
}
