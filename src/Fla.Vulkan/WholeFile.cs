namespace Fla.Vulkan;

/// <summary>Small files that other processes may read or write at the same time.</summary>
internal static class WholeFile
{
    /// <summary>Writes or replaces a file, and makes its folder: nobody sees a part of it.</summary>
    /// <exception cref="IOException">The disk refuses.</exception>
    /// <exception cref="UnauthorizedAccessException">The user may not write there.</exception>
    public static void Write(string path, byte[] bytes)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        var temporary = $"{path}.{Environment.ProcessId}.tmp";
        File.WriteAllBytes(temporary, bytes);
        File.Move(temporary, path, overwrite: true);
    }
}
