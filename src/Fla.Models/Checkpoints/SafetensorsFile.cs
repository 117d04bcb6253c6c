using Microsoft.Win32.SafeHandles;

namespace Fla.Models.Checkpoints;

/// <summary>
/// A safetensors file, opened for reading. The header is validated before anything is believed: lengths before memory is allocated, offsets
/// before data is read. Data is read by position when asked for, so a file that shrinks while it is open is an error and not a crash.
/// </summary>
public sealed class SafetensorsFile : TensorSource
{
    private readonly SafeFileHandle? _handle;
    private readonly ReadOnlyMemory<byte> _bytes;
    private readonly SafetensorsHeader _header;
    private readonly long _dataStart;

    private SafetensorsFile(string location, SafeFileHandle? handle, ReadOnlyMemory<byte> bytes, long length)
    {
        Location = location;
        _handle = handle;
        _bytes = bytes;
        var prefix = new byte[(int)Math.Min(length, SafetensorsHeader.PrefixLength)];
        ReadAt(0, prefix, null);
        var json = new byte[SafetensorsHeader.ReadLength(prefix, length, location)];
        ReadAt(prefix.Length, json, null);
        _dataStart = prefix.Length + json.Length;
        _header = SafetensorsHeader.Parse(json, length - _dataStart, location);
    }

    /// <summary>Opens a file.</summary>
    /// <exception cref="CheckpointException">The file cannot be opened, or is not a valid safetensors file.</exception>
    public static SafetensorsFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        SafeFileHandle? handle = null;
        try
        {
            handle = File.OpenHandle(path, options: FileOptions.RandomAccess);
            return new SafetensorsFile(path, handle, default, RandomAccess.GetLength(handle));
        }
        catch (Exception error) when (error is IOException and not CheckpointException or UnauthorizedAccessException or NotSupportedException)
        {
            handle?.Dispose();
            throw new CheckpointException("cannot be opened: " + error.Message, path, innerException: error);
        }
        catch
        {
            handle?.Dispose();
            throw;
        }
    }

    /// <summary>Reads a file that is already in memory.</summary>
    /// <param name="bytes">The whole file; not copied, and not to be changed while in use.</param>
    /// <param name="name">What messages call it.</param>
    /// <exception cref="CheckpointException">Not a valid safetensors file.</exception>
    public static SafetensorsFile FromBytes(ReadOnlyMemory<byte> bytes, string name = "safetensors") => new(name, null, bytes, bytes.Length);

    /// <inheritdoc/>
    public override string Location { get; }

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, TensorInfo> Tensors => _header.Tensors;

    /// <summary>The header's <c>__metadata__</c>; empty when there is none.</summary>
    public IReadOnlyDictionary<string, string> Metadata => _header.Metadata;

    internal override void Read(TensorInfo info, long offset, Span<byte> destination)
        => ReadAt(_dataStart + info.Offset + offset, destination, info.Name);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) => _handle?.Dispose();

    private void ReadAt(long position, Span<byte> destination, string? key)
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
}
