namespace Fla.Models.Data;

/// <summary>What a file of a dataset is, by its name.</summary>
public enum DataKind
{
    /// <summary>UTF-8 text: one document.</summary>
    Text,

    /// <summary>.jsonl: a document a line.</summary>
    JsonLines,

    /// <summary>.parquet: a document a row.</summary>
    Parquet,

    /// <summary>.bin: token ids (<see cref="TokenFile"/>).</summary>
    Tokens,
}

/// <summary>The files of a dataset.</summary>
public static class DataFiles
{
    /// <summary>What a file is.</summary>
    public static DataKind KindOf(string path) => Path.GetExtension(path).ToUpperInvariant() switch
    {
        ".JSONL" or ".NDJSON" => DataKind.JsonLines,
        ".PARQUET" => DataKind.Parquet,
        ".BIN" => DataKind.Tokens,
        _ => DataKind.Text,
    };

    /// <summary>A file, or all files under a folder by name, of any kinds, without hidden ones and those that only describe a file of tokens.</summary>
    /// <exception cref="DatasetException">There are none.</exception>
    public static IReadOnlyList<string> Find(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (!Directory.Exists(path)) return File.Exists(path) ? [path] : throw new DatasetException("there is no such file or folder", path);
        var files = Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories)
            .Where(file => !IsHidden(Path.GetRelativePath(path, file)) && !DescribesTokens(file)).Order(StringComparer.Ordinal).ToList();
        return files.Count > 0 ? files : throw new DatasetException("the folder holds no files", path);
    }

    private static bool IsHidden(string relative) => relative.Split(Path.DirectorySeparatorChar).Any(part => part.StartsWith('.'));

    private static bool DescribesTokens(string file) =>
        Path.GetExtension(file) is TokenFileHeader.Extension or TokenFile.EndsExtension && File.Exists(Path.ChangeExtension(file, TokenFile.Extension));
}
