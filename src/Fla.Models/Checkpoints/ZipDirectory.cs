using System.Buffers.Binary;
using System.Text;

namespace Fla.Models.Checkpoints;

/// <summary>Where the entries of a zip archive lie in it, for archives that store them as they are, as PyTorch's are. All of it is checked against the file.</summary>
internal static class ZipDirectory
{
    /// <summary>First bytes of an archive.</summary>
    public const uint LocalHeader = 0x04034b50;

    private const uint FileHeader = 0x02014b50;
    private const uint End = 0x06054b50;
    private const uint End64 = 0x06064b50;
    private const uint End64Locator = 0x07064b50;
    private const int EndLength = 22;
    private const int End64LocatorLength = 20;
    private const int End64Length = 56;
    private const int FileHeaderLength = 46;
    private const int LocalHeaderLength = 30;
    private const long MaxLength = 100_000_000;

    /// <summary>The ranges of all entries by name.</summary>
    /// <exception cref="CheckpointException">Not a zip archive, a malformed one, or one whose entries are compressed or encrypted.</exception>
    public static Dictionary<string, (long Offset, long Length)> Read(PositionedBytes file)
    {
        var (offset, length, count) = Locate(file);
        if (offset < 0 || length is < 0 or > MaxLength || offset > file.Length - length)
        {
            throw Malformed(file, "its directory lies outside it");
        }

        var directory = new byte[length];
        file.Read(offset, directory);
        var entries = new Dictionary<string, (long, long)>(StringComparer.Ordinal);
        var rest = (ReadOnlySpan<byte>)directory;
        for (long i = 0; i < count; i++)
        {
            rest = rest[Entry(file, rest, offset, entries)..];
        }

        return entries;
    }

    private static (long Offset, long Length, long Count) Locate(PositionedBytes file)
    {
        // The end record comes last, before a comment of at most 65535 bytes.
        var tail = new byte[(int)Math.Min(file.Length, EndLength + ushort.MaxValue)];
        file.Read(file.Length - tail.Length, tail);
        var at = tail.Length - EndLength;
        while (at >= 0 && (U32(tail, at) != End || U16(tail, at + 20) != tail.Length - at - EndLength))
        {
            at--;
        }

        if (at < 0)
        {
            throw Malformed(file, "it has no directory; it may have been cut");
        }

        var locator = file.Length - tail.Length + at - End64LocatorLength;
        var locatorBytes = new byte[End64LocatorLength];
        if (locator >= 0)
        {
            file.Read(locator, locatorBytes);
        }

        if (U32(locatorBytes, 0) != End64Locator)
        {
            return (U32(tail, at + 16), U32(tail, at + 12), U16(tail, at + 10));
        }

        var end64 = I64(locatorBytes, 8);
        if (end64 < 0 || end64 > locator - End64Length)
        {
            throw Malformed(file, "the end of its directory lies outside it");
        }

        var bytes = new byte[End64Length];
        file.Read(end64, bytes);
        return U32(bytes, 0) == End64 ? (I64(bytes, 48), I64(bytes, 40), I64(bytes, 32)) : throw Malformed(file, "the end of its directory is not where it is said to be");
    }

    /// <summary>Adds the entry at the start of what is left of the directory.</summary>
    /// <returns>Its length there.</returns>
    private static int Entry(PositionedBytes file, ReadOnlySpan<byte> rest, long directoryStart, Dictionary<string, (long, long)> entries)
    {
        if (rest.Length < FileHeaderLength || U32(rest, 0) != FileHeader)
        {
            throw Malformed(file, "its directory ends early");
        }

        var (nameLength, extraLength) = (U16(rest, 28), U16(rest, 30));
        var total = FileHeaderLength + nameLength + extraLength + U16(rest, 32);
        if (rest.Length < total)
        {
            throw Malformed(file, "its directory ends early");
        }

        var name = Encoding.UTF8.GetString(rest.Slice(FileHeaderLength, nameLength));
        var (stored, length, header) = Sizes(file, rest, rest.Slice(FileHeaderLength + nameLength, extraLength), name);
        if (U16(rest, 10) != 0 || stored != length)
        {
            throw Malformed(file, $"its entry {name} is compressed, which PyTorch's are not");
        }

        if ((U16(rest, 8) & 1) != 0)
        {
            throw Malformed(file, $"its entry {name} is encrypted");
        }

        var local = new byte[LocalHeaderLength];
        if (header < 0 || header > directoryStart - LocalHeaderLength)
        {
            throw Malformed(file, $"its entry {name} lies outside it");
        }

        file.Read(header, local);
        var start = header + LocalHeaderLength + U16(local, 26) + U16(local, 28);
        if (U32(local, 0) != LocalHeader || length < 0 || start > directoryStart - length)
        {
            throw Malformed(file, $"its entry {name} lies outside it");
        }

        return entries.TryAdd(name, (start, length)) ? total : throw Malformed(file, $"it has the entry {name} twice");
    }

    /// <summary>The bytes stored and meant, and where the entry's own header begins; the extra field has those that need more than 32 bits.</summary>
    private static (long Stored, long Length, long Header) Sizes(PositionedBytes file, ReadOnlySpan<byte> entry, ReadOnlySpan<byte> extra, string name)
    {
        var wide = default(ReadOnlySpan<byte>);
        while (extra.Length >= 4)
        {
            var size = U16(extra, 2);
            if (size > extra.Length - 4)
            {
                break;
            }

            if (U16(extra, 0) == 1)
            {
                wide = extra.Slice(4, size);
            }

            extra = extra[(4 + size)..];
        }

        var length = Take(entry, 24, ref wide);
        var stored = Take(entry, 20, ref wide);
        return (stored, length, Take(entry, 42, ref wide));

        long Take(ReadOnlySpan<byte> fields, int at, ref ReadOnlySpan<byte> wide)
        {
            if (U32(fields, at) != uint.MaxValue)
            {
                return U32(fields, at);
            }

            if (wide.Length < 8)
            {
                throw Malformed(file, $"its entry {name} has no length");
            }

            var value = I64(wide, 0);
            wide = wide[8..];
            return value;
        }
    }

    private static CheckpointException Malformed(PositionedBytes file, string why) => new($"not a file of PyTorch: {why}", file.Location);

    private static int U16(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]);

    private static uint U32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    private static long I64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadInt64LittleEndian(bytes[at..]);
}
