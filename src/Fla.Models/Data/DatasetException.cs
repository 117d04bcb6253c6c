using Fla.Vulkan;

namespace Fla.Models.Data;

/// <summary>Text or tokens that cannot be read: a file that is not what its name says, or too little of it.</summary>
/// <param name="message">What is wrong.</param>
/// <param name="file">The file, when it is one.</param>
/// <param name="innerException">What a library said.</param>
public sealed class DatasetException(string message, string? file = null, Exception? innerException = null)
    : FlaException(file == null ? message : $"{file}: {message}", innerException!)
{
    /// <summary>The file, when it is one.</summary>
    public string? File { get; } = file;
}
