using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Fla.Models.Checkpoints;

namespace Fla.Models.Checking;

/// <summary>The expected side of a reference case: arrays, and what notes.json says.</summary>
internal sealed partial class ReferenceCase : IDisposable
{
    private const string GradPrefix = "grad.";
    private const string ScalePrefix = "grad_scale.";
    private const string HiddenPrefix = "hidden.";

    private readonly SafetensorsFile _file;
    private readonly HashSet<string> _used = new(StringComparer.Ordinal);

    public ReferenceCase(string folder)
    {
        var path = Path.Combine(folder, "expected.safetensors");
        if (!File.Exists(path)) throw new CheckException($"{folder} holds no expected.safetensors to compare with");
        _file = SafetensorsFile.Open(path);
        try
        {
            ReadNotes(Path.Combine(folder, "notes.json"));
        }
        catch
        {
            _file.Dispose();
            throw;
        }
    }

    /// <summary>Norms of gradients by parameter, from notes.json.</summary>
    public Dictionary<string, double> GradientNorms { get; } = new(StringComparer.Ordinal);

    /// <summary>Tokens before the first decoding step, when notes.json tells.</summary>
    public int? PrefillLength { get; private set; }

    /// <summary>Parameters whose gradients the file has.</summary>
    public IEnumerable<string> Gradients => Names(GradPrefix);

    /// <summary>Numbers of the hidden states that the file has.</summary>
    public IEnumerable<int> HiddenStates =>
        Names(HiddenPrefix).Select(name => int.TryParse(name, NumberStyles.None, null, out var i) ? i : -1).Where(i => i >= 0).Order();

    /// <summary>Keys that nothing has asked for.</summary>
    public IReadOnlyList<string> Unused => [.. _file.Tensors.Keys.Where(key => !_used.Contains(key)).Order(StringComparer.Ordinal)];

    public bool Has(string key) => _file.Contains(key);

    public int[] Shape(string key) => [.. _file.Info(key).Shape.Select(size => checked((int)size))];

    public float[] Values(string key)
    {
        _used.Add(key);
        return _file.ReadSingle(key);
    }

    public int[] Integers(string key)
    {
        _used.Add(key);
        return _file.ReadInt32(key);
    }

    /// <summary>A gradient, times its scale if there is one.</summary>
    public float[] Gradient(string name)
    {
        var values = Values(GradPrefix + name);
        if (!Has(ScalePrefix + name)) return values;
        var scale = Values(ScalePrefix + name);
        if (scale.Length != 1) throw new CheckException($"{ScalePrefix}{name} holds {scale.Length} numbers, not one");
        return Array.ConvertAll(values, value => value * scale[0]);
    }

    public bool IsExact(string name) => _file.Info(GradPrefix + name).Type == StoredType.Float32;

    public void Dispose() => _file.Dispose();

    private IEnumerable<string> Names(string prefix) =>
        _file.Tensors.Keys.Where(key => key.StartsWith(prefix, StringComparison.Ordinal)).Select(key => key[prefix.Length..]).Order(StringComparer.Ordinal);

    private void ReadNotes(string path)
    {
        if (!File.Exists(path)) return;
        try
        {
            using var notes = JsonDocument.Parse(File.ReadAllBytes(path));
            if (notes.RootElement.ValueKind != JsonValueKind.Object) throw new CheckException($"{path} is no JSON object");
            if (notes.RootElement.TryGetProperty("grad_norms", out var norms) && norms.ValueKind == JsonValueKind.Object)
            {
                foreach (var entry in norms.EnumerateObject()) GradientNorms[entry.Name] = entry.Value.GetDouble();
            }
            if (notes.RootElement.TryGetProperty("decode", out var decode) && decode.ValueKind == JsonValueKind.String
                && PrefillWords().Match(decode.GetString()!) is { Success: true } match)
            {
                PrefillLength = int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture);
            }
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or FormatException or OverflowException)
        {
            throw new CheckException($"{path} cannot be read: {error.Message}", error);
        }
    }

    [GeneratedRegex(@"prefill (\d{1,9}) token")]
    private static partial Regex PrefillWords();
}
