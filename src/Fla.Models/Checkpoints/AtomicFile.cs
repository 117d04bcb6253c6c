namespace Fla.Models.Checkpoints;

/// <summary>Files that are replaced as a whole: written beside the target, flushed to the disk, then renamed.</summary>
internal static class AtomicFile
{
    private const string TemporarySuffix = ".tmp";

    /// <summary>Writes or replaces a file.</summary>
    public static void Write(string path, Action<Stream> write) => Replace(path, Prepare(path, write));

    /// <summary>Writes any file under a temporary name, flushed to the disk, and returns that name.</summary>
    public static string Prepare(string path, Action<Stream> write)
    {
        var temporary = $"{path}.{Guid.NewGuid():N}{TemporarySuffix}";
        try
        {
            using var stream = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16);
            write(stream);
            stream.Flush(flushToDisk: true);
            return temporary;
        }
        catch (Exception error)
        {
            Discard(temporary);
            if (error is IOException and not CheckpointException or UnauthorizedAccessException)
            {
                throw new CheckpointException("cannot be written: " + error.Message, path, innerException: error);
            }

            throw;
        }
    }

    /// <summary>Gives a temporary file its final name, replacing what was there.</summary>
    public static void Replace(string path, string temporary)
    {
        try
        {
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            Discard(temporary);
            throw new CheckpointException("cannot be replaced: " + error.Message, path, innerException: error);
        }
    }

    /// <summary>Removes a temporary file that is not wanted any more, if it is there.</summary>
    public static void Discard(string temporary)
    {
        try
        {
            File.Delete(temporary);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // The failure that led here matters more; a stray *.tmp file is all that is left.
        }
    }
}
