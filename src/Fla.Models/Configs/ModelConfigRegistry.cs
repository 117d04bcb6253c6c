using System.Text.Json.Nodes;

namespace Fla.Models.Configs;

/// <summary>The families that config.json can name; a new one is one line here.</summary>
internal static class ModelConfigRegistry
{
    /// <summary>The field that names the family.</summary>
    public const string Field = "model_type";

    private static readonly SortedDictionary<string, Func<ModelConfig>> Families = new(StringComparer.Ordinal)
    {
        [CombaConfig.Name] = () => new CombaConfig(),
        [DeltaNetConfig.Name] = () => new DeltaNetConfig(),
        [GatedDeltaNetConfig.Name] = () => new GatedDeltaNetConfig(),
        [GatedDeltaProductConfig.Name] = () => new GatedDeltaProductConfig(),
        [GlaConfig.Name] = () => new GlaConfig(),
        [KdaConfig.Name] = () => new KdaConfig(),
        [LinearAttentionConfig.Name] = () => new LinearAttentionConfig(),
        [RetNetConfig.Name] = () => new RetNetConfig(),
        [Rwkv7Config.Name] = () => new Rwkv7Config(),
    };

    /// <summary>All families by name.</summary>
    public static IEnumerable<string> Names => Families.Keys;

    /// <summary>A configuration with defaults of the family that a config.json names.</summary>
    /// <exception cref="ConfigException">No family is named, or one that this library does not have.</exception>
    public static ModelConfig Create(JsonObject source)
    {
        if (source[Field] is not JsonValue value || !value.TryGetValue(out string? name))
        {
            throw new ConfigException("is missing or not a string", Field);
        }

        return Families.TryGetValue(name, out var create)
            ? create()
            : throw new ConfigException($"'{(name.Length <= 80 ? name : name[..80])}' is not one of {string.Join(", ", Families.Keys)}", Field);
    }
}
