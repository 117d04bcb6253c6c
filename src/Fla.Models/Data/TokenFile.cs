using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Fla.Models.Data;

/// <summary>
/// Documents as token ids on the disk: X.bin holds the tokens of all, little-endian u16 or u32 without any header; X.json tells what they are
/// (<see cref="TokenFileHeader"/>); X.ends, where it exists, holds the end of each document, u64. Tokens are read where they are wanted; only the ends
/// are in memory. Can be used from several threads.
/// </summary>
public sealed class TokenFile : IDisposable
{
    /// <summary>How the name of a file of tokens ends.</summary>
    public const string Extension = ".bin";

    /// <summary>How the name of a file of ends ends.</summary>
    internal const string EndsExtension = ".ends";

    private const int ScanLength = 1 << 20;

    private readonly SafeFileHandle _handle;
    private readonly long[] _ends;

    private TokenFile(string path, SafeFileHandle handle)
    {
        Path = path;
        _handle = handle;
        Header = TokenFileHeader.Load(System.IO.Path.ChangeExtension(path, TokenFileHeader.Extension));
        var length = RandomAccess.GetLength(handle);
        if (length % Header.Width != 0) throw new DatasetException($"its {length} bytes are no whole number of {Header.Dtype}", path);
        Count = length / Header.Width;
        if (Header.Tokens is { } count && count != Count) throw new DatasetException($"holds {Count} tokens where {count} are promised: it was cut off, or changed", path);
        _ends = Header.Documents is { } documents ? ReadEnds(documents) : Header.EndToken is { } end ? FindEnds(end) : Count > 0 ? [Count] : [];
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>What stands beside it.</summary>
    public TokenFileHeader Header { get; }

    /// <summary>Number of tokens.</summary>
    public long Count { get; }

    /// <summary>End of each document; a document begins where the one before ends, and none is empty.</summary>
    public ReadOnlySpan<long> Ends => _ends;

    /// <summary>Opens a file of tokens.</summary>
    /// <param name="path">X.bin.</param>
    /// <exception cref="DatasetException">One of the files is missing or malformed.</exception>
    /// <exception cref="IOException">One cannot be read.</exception>
    public static TokenFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        var handle = File.OpenHandle(path, options: FileOptions.RandomAccess);
        try
        {
            return new(path, handle);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>Reads tokens.</summary>
    /// <param name="start">The first.</param>
    /// <param name="tokens">Room for as many as are wanted.</param>
    /// <exception cref="DatasetException">The file ends before.</exception>
    public void Read(long start, Span<int> tokens)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(tokens.Length * Header.Width);
        try
        {
            var bytes = buffer.AsSpan(0, tokens.Length * Header.Width);
            ReadBytes(_handle, Path, start * Header.Width, bytes);
            if (Header.Width == sizeof(ushort))
            {
                for (var i = 0; i < tokens.Length; i++) tokens[i] = BinaryPrimitives.ReadUInt16LittleEndian(bytes[(2 * i)..]);
            }
            else
            {
                // More than int.MaxValue turns negative, which is no token either.
                for (var i = 0; i < tokens.Length; i++) tokens[i] = BinaryPrimitives.ReadInt32LittleEndian(bytes[(4 * i)..]);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Documents, one after the other; those of more tokens than this come in parts.</summary>
    public IEnumerable<ReadOnlyMemory<int>> Documents(int partLength = 1 << 24)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(partLength, 1);
        long start = 0;
        foreach (var end in _ends)
        {
            while (start < end)
            {
                var part = new int[Math.Min(partLength, end - start)];
                Read(start, part);
                start += part.Length;
                yield return part;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();

    private static void ReadBytes(SafeFileHandle handle, string path, long offset, Span<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            var count = RandomAccess.Read(handle, bytes, offset);
            if (count == 0) throw new DatasetException("ends before the tokens that are wanted: it was cut off while it was in use", path);
            bytes = bytes[count..];
            offset += count;
        }
    }

    private long[] ReadEnds(long documents)
    {
        var path = System.IO.Path.ChangeExtension(Path, EndsExtension);
        if (!File.Exists(path)) throw new DatasetException($"the ends of its {documents} documents belong in {System.IO.Path.GetFileName(path)}, which is not there", Path);
        using var handle = File.OpenHandle(path);
        var length = RandomAccess.GetLength(handle);
        if (documents < 0 || length != documents * sizeof(long)) throw new DatasetException($"holds {length} bytes, not 8 for each of {documents} documents", path);
        var ends = new long[documents];
        ReadBytes(handle, path, 0, MemoryMarshal.AsBytes(ends.AsSpan()));
        if (!BitConverter.IsLittleEndian) BinaryPrimitives.ReverseEndianness(ends, ends);
        long last = 0;
        foreach (var end in ends) last = end > last ? end : throw new DatasetException($"ends rise from document to document: {end} follows {last}", path);
        return last == Count ? ends : throw new DatasetException($"the last document ends at {last}, the tokens at {Count}", path);
    }

    private long[] FindEnds(int token)
    {
        var ends = new List<long>();
        var tokens = new int[ScanLength];
        for (long start = 0; start < Count; start += ScanLength)
        {
            var part = tokens.AsSpan(0, (int)Math.Min(ScanLength, Count - start));
            Read(start, part);
            for (var i = 0; i < part.Length; i++)
            {
                if (part[i] == token) ends.Add(start + i + 1);
            }
        }
        if (Count > 0 && (ends.Count == 0 || ends[^1] < Count)) ends.Add(Count);
        return [.. ends];
    }
}
