using System.Text.Json.Nodes;

namespace Fla.Models.Configs;

/// <summary>Which layers of a hybrid model are standard softmax attention, and how: one object of the config's <c>attn</c>.</summary>
public sealed class AttnSpec
{
    /// <summary>Name of the config field.</summary>
    internal const string Field = "attn";

    private JsonObject _unknown = [];

    /// <summary>Indices of the layers, distinct, each below <c>num_hidden_layers</c>.</summary>
    public required IReadOnlyList<int> Layers { get; set; }

    /// <summary>Query heads; <c>hidden_size</c> is a multiple of it.</summary>
    public required int NumHeads { get; set; }

    /// <summary>Key and value heads, a divisor of <see cref="NumHeads"/>; null stands for as many.</summary>
    public int? NumKvHeads { get; set; }

    /// <summary>Whether q, k and v have biases.</summary>
    public bool QkvBias { get; set; }

    /// <summary>Number of keys that a query sees, itself included; null for all before it.</summary>
    public int? WindowSize { get; set; }

    /// <summary>Base of the rotary embedding.</summary>
    public double RopeTheta { get; set; } = 10000;

    /// <summary>Reads one object.</summary>
    /// <exception cref="ConfigException">A field is missing or not what it should be.</exception>
    internal static AttnSpec Read(JsonNode? node)
    {
        if (node is not JsonObject source)
        {
            throw new ConfigException("is neither null, an object nor a list of objects", Field);
        }

        var fields = ConfigFields.Reading(source);
        foreach (var required in (ReadOnlySpan<string>)["layers", "num_heads"])
        {
            if (!fields.Has(required))
            {
                throw new ConfigException("is required", $"{Field}.{required}");
            }
        }

        var spec = new AttnSpec { Layers = [], NumHeads = 1 };
        spec.Exchange(fields);
        spec._unknown = fields.TakeUnknown();
        return spec;
    }

    /// <summary>Writes the object, unknown fields included.</summary>
    internal JsonObject Write()
    {
        var fields = ConfigFields.Writing();
        Exchange(fields);
        var target = fields.Written;
        foreach (var (name, value) in _unknown)
        {
            target[name] = value?.DeepClone();
        }

        return target;
    }

    /// <summary>Checks what depends on the model.</summary>
    internal void Validate(int hiddenSize, int layers)
    {
        var seen = new HashSet<int>();
        foreach (var layer in Layers)
        {
            if (layer < 0 || layer >= layers)
            {
                throw new ConfigException($"{layer} is not a layer of a model with {layers}", $"{Field}.layers");
            }

            if (!seen.Add(layer))
            {
                throw new ConfigException($"{layer} is there twice", $"{Field}.layers");
            }
        }

        if (hiddenSize % NumHeads != 0)
        {
            throw new ConfigException($"{NumHeads} does not divide hidden_size {hiddenSize}", $"{Field}.num_heads");
        }

        if (NumHeads % (NumKvHeads ?? NumHeads) != 0)
        {
            throw new ConfigException($"{NumKvHeads} does not divide num_heads {NumHeads}", $"{Field}.num_kv_heads");
        }
    }

    private static int[] ReadLayers(JsonNode? node) => node is JsonArray list
        ? [.. list.Select(item => ConfigFields.ReadInt("layers", item))]
        : throw new ConfigException("is not a list", "layers");

    private void Exchange(ConfigFields fields)
    {
        try
        {
            Layers = fields.Custom<IReadOnlyList<int>>(
                "layers", Layers, ReadLayers, layers => new JsonArray([.. layers.Select(layer => JsonValue.Create(layer))]));
            NumHeads = fields.Int("num_heads", NumHeads, 1, ModelConfig.MaxWidth);
            NumKvHeads = fields.IntOrNull("num_kv_heads", NumKvHeads ?? NumHeads, 1, ModelConfig.MaxWidth) ?? NumHeads;
            QkvBias = fields.Bool("qkv_bias", QkvBias);
            WindowSize = fields.IntOrNull("window_size", WindowSize, 1, int.MaxValue);
            RopeTheta = fields.Float("rope_theta", RopeTheta, double.Epsilon, double.MaxValue);
        }
        catch (ConfigException error)
        {
            throw new ConfigException(error.Problem, $"{Field}.{error.Field}", innerException: error);
        }
    }
}
