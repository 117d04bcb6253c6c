using System.Text.Json;
using System.Text.Json.Serialization;

namespace Fla.Cli.Benchmarks;

/// <summary>What the figures were taken on.</summary>
/// <param name="Device">Name of the device.</param>
/// <param name="Driver">Its driver.</param>
/// <param name="Vulkan">Its Vulkan version.</param>
/// <param name="System">Operating system of the machine.</param>
/// <param name="Matrix">Shape of the cooperative matrices used; null on the plain path.</param>
/// <param name="CopyGBs">Gigabytes a second that a copy reads and writes together.</param>
/// <param name="ProductTflops">10^12 operations a second of the library's large matrix product.</param>
internal sealed record BenchMachine(string Device, string Driver, string Vulkan, string System, string? Matrix, double CopyGBs, double ProductTflops);

/// <summary>One line of the table. Names as in fla's own files where it has the field.</summary>
/// <param name="Op">Name of the op.</param>
/// <param name="Mode">fwd or fwdbwd.</param>
/// <param name="B">Batch.</param>
/// <param name="T">Tokens.</param>
/// <param name="H">Heads.</param>
/// <param name="D">Channels of a head.</param>
/// <param name="Dtype">Storage type.</param>
/// <param name="MedianMs">Median.</param>
/// <param name="P20Ms">20th percentile.</param>
/// <param name="P80Ms">80th percentile.</param>
/// <param name="GBs">Least bytes over the time.</param>
/// <param name="Tflops">Operations over the time.</param>
/// <param name="OfRoof">Time that the device needs at least over the time.</param>
/// <param name="Error">Largest relative error found by the check.</param>
internal sealed record BenchRow(string Op, string Mode, int B, int T, int H, int D, string Dtype, double MedianMs, double P20Ms, double P80Ms,
    [property: JsonPropertyName("gb_s")] double GBs, [property: JsonPropertyName("tflop_s")] double Tflops, double OfRoof, double Error)
{
    /// <summary>What makes lines of two runs the same.</summary>
    [JsonIgnore]
    public (string, string, int, int, int, int, string) Key => (Op, Mode, B, T, H, D, Dtype);
}

/// <summary>The figures of a run, as they are written to a file and read from an older one.</summary>
internal sealed record BenchReport(BenchMachine Machine, IReadOnlyList<BenchRow> Results)
{
    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.General) { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, WriteIndented = true };

    /// <summary>Writes the report, whole or not at all.</summary>
    public void Save(string path) => File.WriteAllBytes(path, JsonSerializer.SerializeToUtf8Bytes(this, Options));

    /// <summary>Reads a report.</summary>
    /// <exception cref="IOException">The file cannot be read, or is no report.</exception>
    public static BenchReport Load(string path)
    {
        try
        {
            return JsonSerializer.Deserialize<BenchReport>(File.ReadAllBytes(path), Options) is { Machine: not null, Results: not null } report ? report
                : throw new InvalidDataException($"{path} is no benchmark report");
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{path} is no benchmark report: {e.Message}", e);
        }
    }
}
