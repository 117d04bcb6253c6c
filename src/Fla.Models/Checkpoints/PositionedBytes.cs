using Microsoft.Win32.SafeHandles;

namespace Fla.Models.Checkpoints;

/// <summary>A file, or memory, read by position: thread-safe, and a file that shrinks while it is open is an error and not a crash.</summary>
internal sealed class PositionedBytes : IDisposable
{
    private readonly SafeFileHandle? _handle;
    private readonly ReadOnlyMemory<byte> _bytes;

    private PositionedBytes(string location, SafeFileHandle handle) => (Location, _handle, Length) = (location, handle, RandomAccess.GetLength(handle));

    /// <summary>Bytes that are in memory already.</summary>
    public PositionedBytes(string location, ReadOnlyMemory<byte> bytes) => (Location, _bytes, Length) = (location, bytes, bytes.Length);

    /// <summary>What messages call it.</summary>
    public string Location { get; }

    /// <summary>Number of bytes when it was opened.</summary>
    public long Length { get; }

    /// <summary>Opens a file.</summary>
    /// <exception cref="CheckpointException">It cannot be opened.</exception>
    public static PositionedBytes Open(string path)
    {
        SafeFileHandle? handle = null;
        try
        {
            handle = File.OpenHandle(path, options: FileOptions.RandomAccess);
            return new(path, handle);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            handle?.Dispose();
            throw new CheckpointException("cannot be opened: " + error.Message, path, innerException: error);
        }
    }

    /// <summary>Makes the reader that will own these bytes; if it cannot be made, they are let go.</summary>
    public T HandTo<T>(Func<PositionedBytes, T> make)
    {
        try
        {
            return make(this);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Fills a span.</summary>
    /// <param name="position">First byte; it and the length were checked against <see cref="Length"/>.</param>
    /// <param name="destination">Where to.</param>
    /// <param name="key">The tensor, for messages.</param>
    /// <exception cref="CheckpointException">The file was cut, or cannot be read.</exception>
    public void Read(long position, Span<byte> destination, string? key = null)
    {
        if (_handle is null)
        {
            _bytes.Span.Slice((int)position, destination.Length).CopyTo(destination);
            return;
        }

        try
        {
            while (destination.Length > 0)
            {
                var count = RandomAccess.Read(_handle, destination, position);
                if (count == 0)
                {
                    throw new CheckpointException($"ends at byte {position}: it was cut after it was opened", Location, key);
                }

                destination = destination[count..];
                position += count;
            }
        }
        catch (Exception error) when (error is IOException and not CheckpointException or UnauthorizedAccessException)
        {
            throw new CheckpointException("cannot be read: " + error.Message, Location, key, error);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _handle?.Dispose();
}
