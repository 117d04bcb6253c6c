using System.Text.Json;

namespace Fla.Vulkan;

/// <summary>Time of one dispatch on the device.</summary>
/// <param name="Kernel">Shader, variant and specialization constants.</param>
/// <param name="Start">Nanoseconds on the device's clock.</param>
/// <param name="Duration">Nanoseconds.</param>
public readonly record struct ProfileEntry(string Kernel, double Start, double Duration);

/// <summary>Times of the dispatches of a stream, while it is open.</summary>
public sealed class Profile : IDisposable
{
    private readonly List<ProfileEntry> _entries = [];
    private readonly string _device;
    private Action? _stop;

    internal Profile(string device, Action stop) => (_device, _stop) = (device, stop);

    /// <summary>Every dispatch, in order.</summary>
    public IReadOnlyList<ProfileEntry> Entries => _entries;

    /// <summary>Kernels with the time they took together in nanoseconds and their number of dispatches, longest first.</summary>
    public IReadOnlyList<(string Kernel, double Total, int Count)> Totals() =>
        _entries.GroupBy(e => e.Kernel).Select(g => (g.Key, g.Sum(e => e.Duration), g.Count())).OrderByDescending(t => t.Item2).ToList();

    /// <summary>Submits what is left and stops timing.</summary>
    public void Stop()
    {
        _stop?.Invoke();
        _stop = null;
    }

    /// <summary>Stops and writes a trace that chrome://tracing and Perfetto open.</summary>
    /// <param name="path">The JSON file to write.</param>
    public void WriteChromeTrace(string path)
    {
        Stop();
        using var stream = File.Create(path);
        using var json = new Utf8JsonWriter(stream);
        var origin = _entries.Count > 0 ? _entries.Min(e => e.Start) : 0;
        json.WriteStartObject();
        json.WriteString("displayTimeUnit", "ns");
        json.WriteStartArray("traceEvents");
        foreach (var entry in _entries)
        {
            json.WriteStartObject();
            json.WriteString("name", entry.Kernel);
            json.WriteString("cat", "kernel");
            json.WriteString("ph", "X");
            json.WriteNumber("ts", (entry.Start - origin) / 1000);
            json.WriteNumber("dur", entry.Duration / 1000);
            json.WriteString("pid", _device);
            json.WriteNumber("tid", 0);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <inheritdoc/>
    public void Dispose() => Stop();

    internal void Add(string kernel, double start, double duration) => _entries.Add(new(kernel, start, duration));
}
