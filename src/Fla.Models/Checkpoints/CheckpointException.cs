namespace Fla.Models.Checkpoints;

/// <summary>A checkpoint file that cannot be read or written as asked: the message names the file and, where there is one, the tensor.</summary>
public sealed class CheckpointException : IOException
{
    /// <summary>Creates the exception; the message becomes <c>file: tensor 'key': problem</c>.</summary>
    /// <param name="problem">What is wrong, without the file or the key.</param>
    /// <param name="file">Path of the file, or null when no file is involved yet.</param>
    /// <param name="key">Name of the tensor (or of the entry of an index), or null.</param>
    /// <param name="innerException">The cause, or null.</param>
    public CheckpointException(string problem, string? file = null, string? key = null, Exception? innerException = null)
        : base(Describe(problem, file, key), innerException)
    {
        File = file;
        Key = key;
    }

    /// <summary>Path of the offending file, or null.</summary>
    public string? File { get; }

    /// <summary>Name of the offending tensor, or null.</summary>
    public string? Key { get; }

    private static string Describe(string problem, string? file, string? key)
    {
        var where = file is null ? "" : file + ": ";
        return key is null ? where + problem : $"{where}tensor '{Shorten(key)}': {problem}";
    }

    private static string Shorten(string key) => key.Length <= 200 ? key : key[..200] + "…";
}
