using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Fla.Cli.Training;

/// <summary>A file of JSON objects, a line each, that a run adds to: each has a field "step".</summary>
internal sealed class JsonLinesFile : IDisposable
{
    /// <summary>The field that every line has.</summary>
    public const string StepField = "step";

    private readonly StreamWriter _writer;

    /// <summary>Opens the file to append to it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="keepBelow">Lines of this step and later are dropped: a resumed run will write them again.</param>
    public JsonLinesFile(string path, long keepBelow)
    {
        var lines = File.Exists(path) ? File.ReadLines(path).Where(line => IsBelow(line, keepBelow)).ToList() : [];
        File.WriteAllLines(path + ".new", lines);
        File.Move(path + ".new", path, overwrite: true);
        Kept = lines.ConvertAll(line => JsonNode.Parse(line)!.AsObject());
        _writer = new(path, append: true, new UTF8Encoding(false));
    }

    /// <summary>What was there, and stays.</summary>
    public IReadOnlyList<JsonObject> Kept { get; }

    /// <summary>Adds a line.</summary>
    public void Write(JsonObject row)
    {
        _writer.WriteLine(row.ToJsonString());
        _writer.Flush();
    }

    /// <inheritdoc/>
    public void Dispose() => _writer.Dispose();

    private static bool IsBelow(string line, long step)
    {
        try
        {
            return (long?)JsonNode.Parse(line)?[StepField] < step;
        }
        catch (JsonException)
        {
            // A line that was cut off when the run was killed.
            return false;
        }
    }
}
