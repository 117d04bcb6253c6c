using Fla.Models.Checkpoints;
using Fla.Models.Configs;
using Fla.Vulkan;

namespace Fla.Models;

public sealed partial class CausalLM
{
    private const string BasePrefix = "model.";
    private const string EmbeddingKey = "model.embeddings.weight";
    private const string HeadKey = "lm_head.weight";

    /// <summary>Loads a model folder (config.json; model.safetensors, pytorch_model.bin, or shards of either), in evaluation mode.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="device">Where to load it.</param>
    /// <param name="dtype">Float type of weights and activations; null for that of the file.</param>
    /// <exception cref="ConfigException">The configuration is malformed, or asks for a layer that is not implemented.</exception>
    /// <exception cref="CheckpointException">A malformed file; keys that are missing, too many, or of another shape than the configuration's.</exception>
    public static CausalLM FromPretrained(string folder, ComputeDevice device, DType? dtype = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        var config = ModelConfig.Load(folder);
        config.CheckModules();
        using var checkpoint = Checkpoint.Open(folder);
        var prefix = !checkpoint.Contains(EmbeddingKey) && checkpoint.Contains(EmbeddingKey[BasePrefix.Length..]) ? BasePrefix : "";
        CheckSizes(checkpoint, config, prefix);
        var isTied = config.TieWordEmbeddings && (!checkpoint.Contains(HeadKey) || HoldsEmbedding(checkpoint, HeadKey, EmbeddingKey[prefix.Length..]));
        var model = new CausalLM(device, config, dtype ?? WeightLoader.TypeOf(checkpoint.Info(EmbeddingKey[prefix.Length..])), isTied);
        try
        {
            WeightLoader.Load(model, checkpoint, prefix, config.OlderKey);
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

    /// <summary>Refuses, before memory is asked for, a configuration whose main sizes the file contradicts.</summary>
    private static void CheckSizes(Checkpoint checkpoint, ModelConfig config, string prefix)
    {
        WeightLoader.CheckShape(checkpoint, EmbeddingKey[prefix.Length..], [config.VocabSize, config.HiddenSize]);
        WeightLoader.CheckShape(checkpoint, $"model.layers.{config.NumHiddenLayers - 1}.attn_norm.weight"[prefix.Length..], [config.HiddenSize]);
        WeightLoader.CheckShape(checkpoint, $"model.layers.0.{config.MlpWeight}"[prefix.Length..], [config.MlpWidth, config.HiddenSize]);
    }

    private static bool HoldsEmbedding(Checkpoint checkpoint, string head, string embedding) =>
        checkpoint.Info(head).Type == checkpoint.Info(embedding).Type && checkpoint.ReadBytes(head).AsSpan().SequenceEqual(checkpoint.ReadBytes(embedding));
}
