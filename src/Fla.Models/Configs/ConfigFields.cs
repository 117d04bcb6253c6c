using System.Text.Json;
using System.Text.Json.Nodes;

namespace Fla.Models.Configs;

/// <summary>
/// The fields of a config.json on their way in or out. A configuration lists its fields once, each as
/// <c>HiddenSize = fields.Int("hidden_size", HiddenSize, 1, limit)</c>: when reading, the call returns the file's value or, if the file lacks
/// the field, the one given; when writing, it records the one given. Ranges and types are checked both ways.
/// </summary>
public sealed class ConfigFields
{
    private readonly JsonObject? _source;
    private readonly JsonObject _target = [];
    private readonly HashSet<string> _seen = new(StringComparer.Ordinal);
    private readonly HashSet<string> _leftOut = new(StringComparer.Ordinal);

    private ConfigFields(JsonObject? source) => _source = source;

    /// <summary>What was recorded while writing.</summary>
    internal JsonObject Written => _target;

    /// <summary>Fields to be filled from a parsed file.</summary>
    internal static ConfigFields Reading(JsonObject source) => new(source);

    /// <summary>Fields to be recorded for a file.</summary>
    internal static ConfigFields Writing() => new(null);

    /// <summary>Fields that are neither read nor written when they are asked for later.</summary>
    internal void LeaveOut(ReadOnlySpan<string> names)
    {
        foreach (var name in names)
        {
            _leftOut.Add(name);
        }
    }

    /// <summary>Whether the file has a field; always false when writing.</summary>
    public bool Has(string name) => _source?.ContainsKey(name) ?? false;

    /// <summary>An integer in a range.</summary>
    public int Int(string name, int value, int min, int max) => IntOrNull(name, value, min, max) ?? throw Wrong(name, "an integer");

    /// <summary>An integer in a range, or null.</summary>
    public int? IntOrNull(string name, int? value, int min, int max)
    {
        if (TryTake(name, out var node))
        {
            value = node is null ? null : ReadInt(name, node);
        }

        if (value is { } number && (number < min || number > max))
        {
            throw new ConfigException($"{number} is outside {min} to {max}", name);
        }

        Record(name, value);
        return value;
    }

    /// <summary>A number in an open or closed range; infinities only where the range has them.</summary>
    public double Float(string name, double value, double min, double max)
        => FloatOrNull(name, value, min, max) ?? throw Wrong(name, "a number");

    /// <summary>A number in a range, or null.</summary>
    public double? FloatOrNull(string name, double? value, double min, double max)
    {
        value = TakeNumber(name, value, min, max);
        Record(name, value is { } number ? ConfigJson.Float(number) : null);
        return value;
    }

    /// <summary>A number in a range, or null, that is written as an integer when it is one.</summary>
    public double? RatioOrNull(string name, double? value, double min, double max)
    {
        value = TakeNumber(name, value, min, max);
        Record(name, value is { } number ? number == (int)number ? (int)number : ConfigJson.Float(number) : null);
        return value;
    }

    /// <summary>True or false.</summary>
    public bool Bool(string name, bool value)
    {
        if (TryTake(name, out var node))
        {
            value = node?.GetValueKind() switch
            {
                JsonValueKind.True => true,
                JsonValueKind.False => false,
                _ => throw Wrong(name, "true or false"),
            };
        }

        Record(name, value);
        return value;
    }

    /// <summary>One of a few words.</summary>
    public string Choice(string name, string value, params ReadOnlySpan<string> allowed)
        => ChoiceOrNull(name, value, allowed) ?? throw Wrong(name, "a string");

    /// <summary>One of a few words, or null.</summary>
    public string? ChoiceOrNull(string name, string? value, params ReadOnlySpan<string> allowed)
    {
        if (TryTake(name, out var node))
        {
            value = node is null ? null : node is JsonValue text && text.TryGetValue(out string? word) ? word : throw Wrong(name, "a string");
        }

        if (value is not null && !allowed.Contains(value))
        {
            throw new ConfigException($"'{Shorten(value)}' is not one of {string.Join(", ", allowed.ToArray())}", name);
        }

        Record(name, value);
        return value;
    }

    /// <summary>A list of strings; JSON's null counts as absent.</summary>
    public IReadOnlyList<string> Strings(string name, IReadOnlyList<string> value)
    {
        if (TryTake(name, out var node) && node is not null)
        {
            value = node is JsonArray array && array.All(item => item is JsonValue text && text.GetValueKind() == JsonValueKind.String)
                ? [.. array.Select(item => item!.GetValue<string>())]
                : throw Wrong(name, "a list of strings");
        }

        Record(name, new JsonArray([.. value.Select(item => JsonValue.Create(item))]));
        return value;
    }

    /// <summary>A field with a structure of its own; both functions throw <see cref="ConfigException"/> when they do not like what they see.</summary>
    /// <param name="name">Name of the field.</param>
    /// <param name="value">The value now.</param>
    /// <param name="read">Turns JSON (null for JSON's null) into a value.</param>
    /// <param name="write">Turns a value into JSON.</param>
    public T Custom<T>(string name, T value, Func<JsonNode?, T> read, Func<T, JsonNode?> write)
    {
        ArgumentNullException.ThrowIfNull(read);
        ArgumentNullException.ThrowIfNull(write);
        if (TryTake(name, out var node))
        {
            value = read(node);
        }

        Record(name, write(value));
        return value;
    }

    /// <summary>Fields of the file that nobody asked for.</summary>
    internal JsonObject TakeUnknown()
    {
        var unknown = new JsonObject();
        foreach (var (name, node) in _source ?? [])
        {
            if (!_seen.Contains(name))
            {
                unknown.Add(name, node?.DeepClone());
            }
        }

        return unknown;
    }

    /// <summary>An integer from JSON; a boolean, a fraction, or a number outside 32 bits is none.</summary>
    internal static int ReadInt(string name, JsonNode? node)
        => node is JsonValue number && number.GetValueKind() == JsonValueKind.Number && number.TryGetValue(out int value)
            ? value
            : throw Wrong(name, "an integer of 32 bits");

    private static ConfigException Wrong(string name, string wanted) => new("is not " + wanted, name);

    private static string Shorten(string text) => text.Length <= 80 ? text : text[..80] + "…";

    private double? TakeNumber(string name, double? value, double min, double max)
    {
        if (TryTake(name, out var node))
        {
            value = node is null ? null : ConfigJson.TryGetFloat(node, out var read) ? read : throw Wrong(name, "a number");
        }

        return value is { } number && !(number >= min && number <= max)
            ? throw new ConfigException($"{number} is outside {min} to {max}", name)
            : value;
    }

    private bool TryTake(string name, out JsonNode? node)
    {
        node = null;
        if (_leftOut.Contains(name))
        {
            return false;
        }

        _seen.Add(name);
        return _source?.TryGetPropertyValue(name, out node) ?? false;
    }

    private void Record(string name, JsonNode? node)
    {
        if (_source is null && !_leftOut.Contains(name))
        {
            _target[name] = node;
        }
    }
}
