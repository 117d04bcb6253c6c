using Fla.Models.Checkpoints;
using Fla.Models.Configs;
using Fla.Vulkan;

namespace Fla.Models;

public sealed partial class CausalLM
{
    private const string BasePrefix = "model.";
    private const string EmbeddingKey = "model.embeddings.weight";
    private const string HeadKey = "lm_head.weight";
    private const int NamedKeys = 8;

    /// <summary>Loads a model folder (config.json, model.safetensors or shards), in evaluation mode.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="device">Where to load it.</param>
    /// <param name="dtype">Float type of weights and activations; null for that of the file.</param>
    /// <exception cref="ConfigException">The configuration is malformed, or asks for a layer that is not implemented.</exception>
    /// <exception cref="CheckpointException">A malformed file; keys that are missing, too many, or of another shape than the configuration's.</exception>
    public static CausalLM FromPretrained(string folder, ComputeDevice device, DType? dtype = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        var config = ModelConfig.Load(folder);
        MixerRegistry.Check(config);
        using var checkpoint = Checkpoint.Open(folder);
        var prefix = !checkpoint.Contains(EmbeddingKey) && checkpoint.Contains(EmbeddingKey[BasePrefix.Length..]) ? BasePrefix : "";
        CheckSizes(checkpoint, config, prefix);
        var isTied = config.TieWordEmbeddings && (!checkpoint.Contains(HeadKey) || HoldsEmbedding(checkpoint, HeadKey, EmbeddingKey[prefix.Length..]));
        var model = new CausalLM(device, config, dtype ?? TypeOf(checkpoint.Info(EmbeddingKey[prefix.Length..])), isTied);
        try
        {
            model.Load(checkpoint, prefix);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Saves the model for this library and for fla: config.json, and model.safetensors or shards, in the model's float type.</summary>
    /// <param name="folder">Created when missing; files of an earlier save are replaced.</param>
    /// <param name="maxShardBytes">A shard holds at most so many bytes, or one larger tensor.</param>
    /// <exception cref="CheckpointException">The disk refuses.</exception>
    public void SavePretrained(string folder, long maxShardBytes = Checkpoint.DefaultMaxShardBytes)
    {
        Config.Dtype = DType switch
        {
            DType.Float16 => "float16",
            DType.BFloat16 => "bfloat16",
            _ => "float32",
        };
        var stored = DType switch
        {
            DType.Float16 => StoredType.Float16,
            DType.BFloat16 => StoredType.BFloat16,
            _ => StoredType.Float32,
        };
        Checkpoint.Save(folder, [.. NamedParameters().Select(Entry)], maxShardBytes);
        Config.Save(folder);

        TensorData Entry(KeyValuePair<string, Tensor> parameter)
        {
            var shape = Array.ConvertAll(parameter.Value.Shape.ToArray(), size => (long)size);
            return new(parameter.Key, stored, shape, stream => stream.Write(parameter.Value.ToBytes()));
        }
    }

    private void Load(Checkpoint checkpoint, string prefix)
    {
        var parameters = StateDict().GroupBy(entry => entry.Value, entry => FileKey(entry.Key), ReferenceEqualityComparer.Instance);
        var known = new HashSet<string>(StringComparer.Ordinal);
        var missing = new List<string>();
        var sources = new List<(Tensor Parameter, string Key)>();
        foreach (var group in parameters)
        {
            known.UnionWith(group);
            var parameter = (Tensor)group.Key!;
            if (group.FirstOrDefault(checkpoint.Contains) is { } key) sources.Add((parameter, key));
            else missing.Add(group.First());
        }
        var extra = checkpoint.Tensors.Keys.Where(key => !known.Contains(key)).Order(StringComparer.Ordinal).ToList();
        if (missing.Count + extra.Count > 0)
        {
            string[] problems = [.. Say("missing", missing), .. Say("not part of the model", extra)];
            throw new CheckpointException(string.Join("; ", problems), checkpoint.Location, missing.Concat(extra).First());
        }
        foreach (var (parameter, key) in sources) CheckShape(checkpoint, key, parameter.Shape);
        foreach (var (parameter, key) in sources)
        {
            if (TypeOf(checkpoint.Info(key)) == parameter.DType && checkpoint.Info(key).Type != StoredType.Float64) parameter.WriteBytes(checkpoint.ReadBytes(key));
            else parameter.Write(checkpoint.ReadSingle(key));
        }

        string FileKey(string key) => key.StartsWith(prefix, StringComparison.Ordinal) ? key[prefix.Length..] : key;

        static IEnumerable<string> Say(string what, List<string> keys)
        {
            if (keys.Count > 0) yield return $"{keys.Count} {what}: {string.Join(", ", keys.Take(NamedKeys))}{(keys.Count > NamedKeys ? ", ..." : "")}";
        }
    }

    /// <summary>Refuses, before memory is asked for, a configuration whose main sizes the file contradicts.</summary>
    private static void CheckSizes(Checkpoint checkpoint, ModelConfig config, string prefix)
    {
        CheckShape(checkpoint, EmbeddingKey[prefix.Length..], [config.VocabSize, config.HiddenSize]);
        CheckShape(checkpoint, $"model.layers.{config.NumHiddenLayers - 1}.attn_norm.weight"[prefix.Length..], [config.HiddenSize]);
        CheckShape(checkpoint, "model.layers.0.mlp.gate_proj.weight"[prefix.Length..], [config.MlpWidth, config.HiddenSize]);
    }

    private static void CheckShape(Checkpoint checkpoint, string key, ReadOnlySpan<int> expected)
    {
        var info = checkpoint.Info(key);
        var shape = Array.ConvertAll(expected.ToArray(), size => (long)size);
        if (!info.Shape.SequenceEqual(shape))
        {
            throw new CheckpointException($"has the shape [{string.Join(", ", info.Shape)}], the configuration needs [{string.Join(", ", shape)}]", checkpoint.Location, key);
        }
        if (!info.Type.IsFloatingPoint()) throw new CheckpointException($"is {info.Type.Tag()}, not a floating-point type", checkpoint.Location, key);
    }

    private static bool HoldsEmbedding(Checkpoint checkpoint, string head, string embedding) =>
        checkpoint.Info(head).Type == checkpoint.Info(embedding).Type && checkpoint.ReadBytes(head).AsSpan().SequenceEqual(checkpoint.ReadBytes(embedding));

    private static DType TypeOf(TensorInfo info) => info.Type switch
    {
        StoredType.Float16 => DType.Float16,
        StoredType.BFloat16 => DType.BFloat16,
        _ => DType.Float32,
    };
}
