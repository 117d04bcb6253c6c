namespace Fla.Testing;

/// <summary>A folder that lives as long as its owner.</summary>
public sealed class TemporaryFolder : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("fla-test-");

    /// <summary>Full path of the folder.</summary>
    public string Location => _folder.FullName;

    /// <summary>Full path of a file in the folder.</summary>
    public string File(string name) => Path.Combine(Location, name);

    /// <summary>Names of the files in the folder, sorted.</summary>
    public string[] FileNames => [.. _folder.EnumerateFiles().Select(file => file.Name).Order(StringComparer.Ordinal)];

    /// <inheritdoc/>
    public void Dispose() => _folder.Delete(recursive: true);
}
