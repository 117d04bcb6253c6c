namespace Fla.Cli.Training;

/// <summary>The project's own documentation and sources, found from where the tool stands.</summary>
internal static class RepositoryFiles
{
    private const string Marker = "Fla.sln";

    private static readonly string[] Folders = ["docs", "src", "shaders", "tests", "bench", "eng"];
    private static readonly string[] Extensions = [".md", ".cs", ".comp", ".glsl", ".sh"];
    private static readonly HashSet<string> Skipped = new(StringComparer.Ordinal) { "bin", "obj", "golden" };

    /// <summary>The repository's root above the current folder or the tool itself; null when there is none.</summary>
    public static string? FindRoot() => FindRoot(Environment.CurrentDirectory) ?? FindRoot(AppContext.BaseDirectory);

    /// <summary>The text files under a root, sorted by name.</summary>
    public static IReadOnlyList<string> Find(string root)
    {
        var files = Directory.EnumerateFiles(root, "*.md").ToList();
        foreach (var folder in Folders.Select(name => Path.Combine(root, name)).Where(Directory.Exists)) AddTo(files, folder);
        files.Sort(StringComparer.Ordinal);
        return files;
    }

    private static string? FindRoot(string start)
    {
        for (var folder = new DirectoryInfo(start); folder != null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, Marker))) return folder.FullName;
        }
        return null;
    }

    private static void AddTo(List<string> files, string folder)
    {
        files.AddRange(Directory.EnumerateFiles(folder).Where(file => Extensions.Contains(Path.GetExtension(file))));
        foreach (var child in Directory.EnumerateDirectories(folder).Where(child => !Skipped.Contains(Path.GetFileName(child)))) AddTo(files, child);
    }
}
