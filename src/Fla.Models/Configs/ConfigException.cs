namespace Fla.Models.Configs;

/// <summary>A model configuration that cannot be used: the message names the field, and the file when there is one.</summary>
public sealed class ConfigException : Exception
{
    /// <summary>Creates the exception; the message becomes <c>file: field: problem</c>.</summary>
    /// <param name="problem">What is wrong, without the field or the file.</param>
    /// <param name="field">Name of the offending field as in config.json, or null.</param>
    /// <param name="file">Path of the file, or null.</param>
    /// <param name="innerException">The cause, or null.</param>
    public ConfigException(string problem, string? field = null, string? file = null, Exception? innerException = null)
        : base((file is null ? "" : file + ": ") + (field is null ? "" : field + ": ") + problem, innerException)
    {
        Problem = problem;
        Field = field;
        File = file;
    }

    /// <summary>Name of the offending field, or null.</summary>
    public string? Field { get; }

    /// <summary>Path of the file, or null.</summary>
    public string? File { get; }

    /// <summary>What is wrong, without the field or the file.</summary>
    public string Problem { get; }
}
