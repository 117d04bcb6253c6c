using Fla.Models.Checkpoints;

namespace Fla.Testing;

/// <summary>The reference cases in tests/golden, computed by fla itself.</summary>
public static class Golden
{
    private const string Variable = "FLA_GOLDEN";

    private static readonly Lazy<string> Root = new(FindRoot);

    /// <summary>Full path of a case, such as <c>Golden.Path("models/gla")</c>; the file or folder must exist.</summary>
    /// <exception cref="FileNotFoundException">There is no such case.</exception>
    public static string Path(string relative)
    {
        var full = System.IO.Path.GetFullPath(System.IO.Path.Combine(Root.Value, relative));
        return File.Exists(full) || Directory.Exists(full)
            ? full
            : throw new FileNotFoundException($"no golden case '{relative}' in {Root.Value}", full);
    }

    /// <summary>Opens a safetensors file of a case, such as <c>Golden.Open("ops/chunk_gla.safetensors")</c>.</summary>
    public static GoldenFile Open(string relative) => new(SafetensorsFile.Open(Path(relative)));

    private static string FindRoot()
    {
        if (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } configured)
        {
            return configured;
        }

        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var candidate = System.IO.Path.Combine(folder.FullName, "tests", "golden");
            if (Directory.Exists(candidate))
            {
                return candidate;
            }
        }

        throw new DirectoryNotFoundException($"no folder above {AppContext.BaseDirectory} holds tests/golden; set {Variable}");
    }
}
