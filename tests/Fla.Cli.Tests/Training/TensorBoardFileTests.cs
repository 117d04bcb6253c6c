using System.Buffers.Binary;
using System.Text;
using Fla.Cli.Training;
using NUnit.Framework;

namespace Fla.Cli.Tests.Training;

public sealed class TensorBoardFileTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("fla-board-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    /// <summary>Test vectors of RFC 3720, B.4, and the usual check word; the mask is (crc >> 15 | crc &lt;&lt; 17) + 0xa282ead8.</summary>
    [Test]
    public void ChecksumIsCastagnolis()
    {
        Assert.That(Unmask(TensorBoardFile.MaskedCrc("123456789"u8)), Is.EqualTo(0xE3069283));
        Assert.That(Unmask(TensorBoardFile.MaskedCrc(new byte[32])), Is.EqualTo(0x8A9136AA));
        Assert.That(Unmask(TensorBoardFile.MaskedCrc([.. Enumerable.Repeat((byte)0xFF, 32)])), Is.EqualTo(0x62A8AB43));
        Assert.That(Unmask(TensorBoardFile.MaskedCrc([.. Enumerable.Range(0, 32).Select(i => (byte)i)])), Is.EqualTo(0x46DD794E));
    }

    [Test]
    public void EventsAreReadBack()
    {
        string path;
        using (var board = new TensorBoardFile(_folder, 12))
        {
            path = board.Path;
            board.Add(300, ("train/loss", 2.5), ("train/lr", double.NaN), ("train/grad_norm", 1e-3));
            board.Add(1L << 40, "sample", "Grüße");
        }
        Assert.That(Path.GetFileName(path), Does.Match(@"^events\.out\.tfevents\.\d{10,}\.fla$"));
        var events = TensorBoardReader.Events(path);
        Assert.That(events, Has.Count.EqualTo(4));
        Assert.That(events[0].Version, Is.EqualTo("brain.Event:2"));
        Assert.That((events[1].Step, events[1].IsStart), Is.EqualTo((12L, true)));
        Assert.That(events[2].Step, Is.EqualTo(300));
        Assert.That(events[2].Scalars, Is.EqualTo(new[] { ("train/loss", 2.5f), ("train/grad_norm", 1e-3f) }));
        Assert.That((events[3].Step, events[3].Texts.Single()), Is.EqualTo((1L << 40, ("sample", "Grüße"))));
        Assert.That(events.Select(e => e.WallTime), Is.All.EqualTo(DateTimeOffset.UtcNow.ToUnixTimeSeconds()).Within(100));
    }

    [Test]
    public void LaterRunHasALaterFile()
    {
        var paths = new List<string>();
        for (var i = 0; i < 3; i++)
        {
            using var board = new TensorBoardFile(_folder, i);
            paths.Add(board.Path);
        }
        Assert.That(paths, Is.Unique.And.Ordered.Using<string>(StringComparer.Ordinal));
    }

    private static uint Unmask(uint masked)
    {
        var rotated = unchecked(masked - 0xA282EAD8);
        return rotated << 15 | rotated >> 17;
    }
}

/// <summary>What an event of a TensorBoard file tells.</summary>
internal sealed record BoardEvent(double WallTime, long Step, string? Version, bool IsStart, List<(string Tag, float Value)> Scalars, List<(string Tag, string Text)> Texts);

/// <summary>Reads event files by the two specifications (TFRecord, Protocol Buffers), without anything of the writer; checksums bit by bit.</summary>
internal static class TensorBoardReader
{
    public static List<BoardEvent> Events(string path)
    {
        var bytes = File.ReadAllBytes(path).AsSpan();
        var events = new List<BoardEvent>();
        while (bytes.Length > 0)
        {
            var length = checked((int)BinaryPrimitives.ReadUInt64LittleEndian(bytes));
            Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]), Is.EqualTo(MaskedCrc(bytes[..8])));
            var data = bytes.Slice(12, length);
            Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(bytes[(12 + length)..]), Is.EqualTo(MaskedCrc(data)));
            events.Add(Event(data));
            bytes = bytes[(16 + length)..];
        }
        return events;
    }

    private static BoardEvent Event(ReadOnlySpan<byte> data)
    {
        var fields = Fields(data);
        var (scalars, texts) = (new List<(string, float)>(), new List<(string, string)>());
        foreach (var value in fields.Where(f => f.Number == 5).SelectMany(summary => Fields(summary.Bytes)).Select(value => Fields(value.Bytes)))
        {
            var tag = Encoding.UTF8.GetString(value.Single(f => f.Number == 1).Bytes);
            foreach (var scalar in value.Where(f => f.Number == 2)) scalars.Add((tag, BinaryPrimitives.ReadSingleLittleEndian(scalar.Bytes)));
            foreach (var tensor in value.Where(f => f.Number == 8))
            {
                var plugin = Fields(value.Single(f => f.Number == 9).Bytes).Single(f => f.Number == 1);
                Assert.That(Fields(plugin.Bytes).Single(f => f.Number == 1).Bytes, Is.EqualTo("text"u8.ToArray()));
                var parts = Fields(tensor.Bytes);
                Assert.That(parts.Single(f => f.Number == 1).Value, Is.EqualTo(7), "DT_STRING");
                texts.Add((tag, Encoding.UTF8.GetString(parts.Single(f => f.Number == 8).Bytes)));
            }
        }
        var version = fields.Where(f => f.Number == 3).Select(f => Encoding.UTF8.GetString(f.Bytes)).SingleOrDefault();
        var isStart = fields.Where(f => f.Number == 7).Any(log => Fields(log.Bytes).Single(f => f.Number == 1).Value == 1);
        var wallTime = BinaryPrimitives.ReadDoubleLittleEndian(fields.Single(f => f.Number == 1).Bytes);
        return new(wallTime, (long)fields.SingleOrDefault(f => f.Number == 2).Value, version, isStart, scalars, texts);
    }

    private static List<(int Number, ulong Value, byte[] Bytes)> Fields(ReadOnlySpan<byte> data)
    {
        var fields = new List<(int, ulong, byte[])>();
        var at = 0;
        while (at < data.Length)
        {
            var key = Varint(data, ref at);
            var (value, length) = (key & 7) switch
            {
                0 => (Varint(data, ref at), 0),
                1 => (0UL, 8),
                2 => (0UL, (int)Varint(data, ref at)),
                5 => (0UL, 4),
                _ => throw new InvalidDataException($"wire type {key & 7}"),
            };
            fields.Add(((int)(key >> 3), value, data.Slice(at, length).ToArray()));
            at += length;
        }
        return fields;
    }

    private static ulong Varint(ReadOnlySpan<byte> data, ref int at)
    {
        ulong value = 0;
        for (var shift = 0; ; shift += 7)
        {
            var part = data[at++];
            value |= (ulong)(part & 0x7F) << shift;
            if (part < 0x80) return value;
        }
    }

    private static uint MaskedCrc(ReadOnlySpan<byte> data)
    {
        var crc = uint.MaxValue;
        foreach (var value in data)
        {
            crc ^= value;
            for (var bit = 0; bit < 8; bit++) crc = (crc & 1) == 0 ? crc >> 1 : crc >> 1 ^ 0x82F63B78;
        }
        crc = ~crc;
        return unchecked((crc >> 15 | crc << 17) + 0xA282EAD8);
    }
}
