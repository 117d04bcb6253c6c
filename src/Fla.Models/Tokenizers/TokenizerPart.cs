using System.Text.Json;

namespace Fla.Models.Tokenizers;

/// <summary>A place in tokenizer.json: reads values and, when one is not what it should be, says where.</summary>
internal readonly struct TokenizerPart(JsonElement element, string path)
{
    /// <summary>Where it is, such as <c>pre_tokenizer.pretokenizers[0]</c>.</summary>
    public string Path => path;

    /// <summary>Whether it is null, or not there at all.</summary>
    public bool IsNull => element.ValueKind is JsonValueKind.Null or JsonValueKind.Undefined;

    /// <summary>Whether it is a string.</summary>
    public bool IsString => element.ValueKind == JsonValueKind.String;

    /// <summary>Whether it is a list.</summary>
    public bool IsList => element.ValueKind == JsonValueKind.Array;

    /// <summary>A member, which may not be there.</summary>
    public TokenizerPart this[string name] => element.ValueKind switch
    {
        JsonValueKind.Object => new TokenizerPart(element.TryGetProperty(name, out var value) ? value : default, path.Length == 0 ? name : $"{path}.{name}"),
        _ => throw Error("is not an object"),
    };

    /// <summary>The <c>type</c> of a component.</summary>
    public string Type => this["type"].String();

    /// <summary>A string.</summary>
    public string String() => IsString ? element.GetString()! : throw Error("is not a string");

    /// <summary>A string, or null.</summary>
    public string? StringOrNull() => IsNull ? null : String();

    /// <summary>True or false, or <paramref name="absent"/> when it is not there.</summary>
    public bool Bool(bool absent) => element.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ when IsNull => absent,
        _ => throw Error("is neither true nor false"),
    };

    /// <summary>A non-negative integer.</summary>
    public int Int() => element.ValueKind == JsonValueKind.Number && element.TryGetInt32(out var value) && value >= 0
        ? value
        : throw Error("is not a non-negative integer");

    /// <summary>Items of a list.</summary>
    public IEnumerable<TokenizerPart> List()
    {
        if (!IsList)
        {
            throw Error("is not a list");
        }

        var where = path;
        return element.EnumerateArray().Select((item, i) => new TokenizerPart(item, $"{where}[{i}]"));
    }

    /// <summary>Members of an object.</summary>
    public IEnumerable<(string Name, TokenizerPart Value)> Members()
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            throw Error("is not an object");
        }

        var where = path;
        return element.EnumerateObject().Select(member => (member.Name, new TokenizerPart(member.Value, $"{where}.{member.Name}")));
    }

    /// <summary>An error about this part.</summary>
    public TokenizerException Error(string problem) => new(problem, path.Length <= 200 ? path : path[..200]);

    /// <summary>An error about something here that this library would not honour exactly.</summary>
    public TokenizerException Unsupported(string what) => Error($"{(what.Length <= 200 ? what : what[..200])} is not supported");
}
