namespace Fla.Models.Tokenizers;

/// <summary>
/// A tokenizer that cannot be used: a malformed file, or a part of it that this library would not honour exactly. The message names the part.
/// </summary>
public sealed class TokenizerException : Exception
{
    /// <summary>Creates the exception; the message becomes <c>file: component: problem</c>.</summary>
    /// <param name="problem">What is wrong.</param>
    /// <param name="component">The offending part, as a path in tokenizer.json such as <c>pre_tokenizer.type</c>, or null.</param>
    /// <param name="file">Path of the file, or null.</param>
    /// <param name="innerException">The cause, or null.</param>
    public TokenizerException(string problem, string? component = null, string? file = null, Exception? innerException = null)
        : base((file is null ? "" : file + ": ") + (component is null ? "" : component + ": ") + problem, innerException)
    {
        Problem = problem;
        Component = component;
        File = file;
    }

    /// <summary>The offending part, or null.</summary>
    public string? Component { get; }

    /// <summary>Path of the file, or null.</summary>
    public string? File { get; }

    /// <summary>What is wrong, without the part or the file.</summary>
    public string Problem { get; }
}
