using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Fla.Layers;
using Fla.Models.Checkpoints;
using Fla.Vulkan;

namespace Fla.Models.Checking;

/// <summary>A single layer on disk: layer.json with its class and arguments, model.safetensors with its state dict.</summary>
internal static class LayerFile
{
    public const string FileName = "layer.json";

    private static readonly JsonSerializerOptions Arguments = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    };

    private static readonly Dictionary<string, Func<JsonObject, ComputeDevice, DType, TokenMixer>> Layers = new(StringComparer.Ordinal)
    {
        [nameof(Comba)] = (json, device, type) => new Comba(device, Read<CombaOptions>(json), type),
        [nameof(DeltaNet)] = (json, device, type) => new DeltaNet(device, Read<DeltaNetOptions>(json), type),
        [nameof(GatedDeltaNet)] = (json, device, type) => new GatedDeltaNet(device, Read<GatedDeltaNetOptions>(json), type),
        [nameof(GatedDeltaNet2)] = (json, device, type) => new GatedDeltaNet2(device, Read<GatedDeltaNet2Options>(json), type),
        [nameof(GatedDeltaProduct)] = (json, device, type) => new GatedDeltaProduct(device, Read<GatedDeltaProductOptions>(json), type),
        [nameof(GatedLinearAttention)] = (json, device, type) => new GatedLinearAttention(device, Read<GatedLinearAttentionOptions>(json), type),
        [nameof(KimiDeltaAttention)] = (json, device, type) => new KimiDeltaAttention(device, Read<KimiDeltaAttentionOptions>(json), type),
        [nameof(LinearAttention)] = (json, device, type) => new LinearAttention(device, Read<LinearAttentionOptions>(json), type),
        [nameof(MultiScaleRetention)] = (json, device, type) => new MultiScaleRetention(device, Read<MultiScaleRetentionOptions>(json), type),
        ["RWKV7Attention"] = (json, device, type) => new Rwkv7Attention(device, Read<Rwkv7AttentionOptions>(json), type),
        [nameof(SimpleGatedLinearAttention)] = (json, device, type) => new SimpleGatedLinearAttention(device, Read<SimpleGatedLinearAttentionOptions>(json), type),
    };

    /// <summary>Reads a layer folder.</summary>
    /// <exception cref="CheckException">layer.json is malformed, or names a class or an argument that is not here.</exception>
    /// <exception cref="CheckpointException">Weights that are malformed or do not fit.</exception>
    public static TokenMixer Load(string folder, ComputeDevice device, DType type)
    {
        var path = Path.Combine(folder, FileName);
        var layer = Create(path, device, type);
        try
        {
            using var weights = Checkpoint.Open(folder);
            WeightLoader.Load(layer, weights);
            return layer;
        }
        catch
        {
            layer.Dispose();
            throw;
        }
    }

    private static TokenMixer Create(string path, ComputeDevice device, DType type)
    {
        try
        {
            if (JsonNode.Parse(File.ReadAllBytes(path)) is not JsonObject json || json["layer"]?.GetValue<string>() is not { } name)
            {
                throw new CheckException($"{path} names no layer");
            }
            json.Remove("layer");
            return Layers.TryGetValue(name, out var create)
                ? create(json, device, type)
                : throw new CheckException($"{path}: '{name}' is none of {string.Join(", ", Layers.Keys)}");
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new CheckException($"{path}: {error.Message}", error);
        }
    }

    private static T Read<T>(JsonObject json) => json.Deserialize<T>(Arguments) ?? throw new JsonException("no arguments");
}
