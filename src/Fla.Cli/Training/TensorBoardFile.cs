using System.Buffers.Binary;
using System.Numerics;

namespace Fla.Cli.Training;

/// <summary>
/// Scalars and texts for TensorBoard: an event file, which is a sequence of records (length, masked CRC-32C of the length, data, masked CRC-32C of the
/// data, all little-endian) that each hold an Event of tensorflow/core/util/event.proto. Every run writes a file of its own; the first record of a resumed
/// one makes TensorBoard drop what an earlier file has from that step on.
/// </summary>
internal sealed class TensorBoardFile : IDisposable
{
    private const uint MaskDelta = 0xA282EAD8;
    private const int StringType = 7;
    private const int Started = 1;

    private readonly FileStream _stream;

    /// <summary>Begins a file.</summary>
    /// <param name="folder">The run's folder, which TensorBoard is given as --logdir.</param>
    /// <param name="step">Steps that were done.</param>
    public TensorBoardFile(string folder, long step)
    {
        _stream = Create(folder);
        Write(new ProtobufMessage().Double(1, Now()).Text(3, "brain.Event:2"));
        Write(Event(step).Message(7, new ProtobufMessage().Integer(1, Started)));
    }

    /// <summary>The file.</summary>
    public string Path => _stream.Name;

    /// <summary>Adds numbers of a step; those that are not finite are left out.</summary>
    public void Add(long step, params ReadOnlySpan<(string Tag, double Value)> scalars)
    {
        var summary = new ProtobufMessage();
        foreach (var (tag, value) in scalars)
        {
            if (double.IsFinite(value)) summary.Message(1, new ProtobufMessage().Text(1, tag).Float(2, (float)value));
        }
        Write(Event(step).Message(5, summary));
    }

    /// <summary>Adds a text of a step.</summary>
    public void Add(long step, string tag, string text)
    {
        var shape = new ProtobufMessage().Message(2, new ProtobufMessage().Integer(1, 1));
        var tensor = new ProtobufMessage().Integer(1, StringType).Message(2, shape).Text(8, text);
        var plugin = new ProtobufMessage().Message(1, new ProtobufMessage().Text(1, "text"));
        Write(Event(step).Message(5, new ProtobufMessage().Message(1, new ProtobufMessage().Text(1, tag).Message(8, tensor).Message(9, plugin))));
    }

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    /// <summary>CRC-32C (Castagnoli), rotated and offset, because a checksum of data that holds checksums is weak.</summary>
    internal static uint MaskedCrc(ReadOnlySpan<byte> data)
    {
        var crc = uint.MaxValue;
        foreach (var value in data) crc = BitOperations.Crc32C(crc, value);
        return unchecked(BitOperations.RotateRight(~crc, 15) + MaskDelta);
    }

    private static FileStream Create(string folder)
    {
        Directory.CreateDirectory(folder);
        // TensorBoard reads the files of a folder in the order of their names.
        for (var time = DateTimeOffset.UtcNow.ToUnixTimeSeconds(); ; time++)
        {
            var path = System.IO.Path.Combine(folder, $"events.out.tfevents.{time}.fla");
            if (!File.Exists(path)) return new(path, FileMode.CreateNew, FileAccess.Write, FileShare.ReadWrite);
        }
    }

    private static double Now() => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1e3;

    private static ProtobufMessage Event(long step) => new ProtobufMessage().Double(1, Now()).Integer(2, step);

    private void Write(ProtobufMessage message)
    {
        var data = message.ToArray();
        var record = new byte[sizeof(ulong) + sizeof(uint) + data.Length + sizeof(uint)];
        BinaryPrimitives.WriteUInt64LittleEndian(record, (ulong)data.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(sizeof(ulong)), MaskedCrc(record.AsSpan(0, sizeof(ulong))));
        data.CopyTo(record, sizeof(ulong) + sizeof(uint));
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(record.Length - sizeof(uint)), MaskedCrc(data));
        _stream.Write(record);
        _stream.Flush();
    }
}
