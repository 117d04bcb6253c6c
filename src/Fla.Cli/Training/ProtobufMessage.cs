using System.Buffers.Binary;
using System.Text;

namespace Fla.Cli.Training;

/// <summary>A message of Protocol Buffers as its fields are added: the four kinds that an event of TensorBoard has.</summary>
internal sealed class ProtobufMessage
{
    private const int VarintWire = 0;
    private const int Fixed64Wire = 1;
    private const int BytesWire = 2;
    private const int Fixed32Wire = 5;

    private readonly List<byte> _bytes = [];

    public byte[] ToArray() => [.. _bytes];

    public ProtobufMessage Integer(int field, long value)
    {
        Key(field, VarintWire);
        Varint((ulong)value);
        return this;
    }

    public ProtobufMessage Double(int field, double value)
    {
        Key(field, Fixed64Wire);
        var bytes = new byte[sizeof(double)];
        BinaryPrimitives.WriteDoubleLittleEndian(bytes, value);
        _bytes.AddRange(bytes);
        return this;
    }

    public ProtobufMessage Float(int field, float value)
    {
        Key(field, Fixed32Wire);
        var bytes = new byte[sizeof(float)];
        BinaryPrimitives.WriteSingleLittleEndian(bytes, value);
        _bytes.AddRange(bytes);
        return this;
    }

    public ProtobufMessage Text(int field, string value) => Bytes(field, Encoding.UTF8.GetBytes(value));

    public ProtobufMessage Message(int field, ProtobufMessage value) => Bytes(field, value.ToArray());

    private ProtobufMessage Bytes(int field, byte[] value)
    {
        Key(field, BytesWire);
        Varint((ulong)value.Length);
        _bytes.AddRange(value);
        return this;
    }

    private void Key(int field, int wire) => Varint((ulong)(field << 3 | wire));

    private void Varint(ulong value)
    {
        for (; value >= 0x80; value >>= 7) _bytes.Add((byte)(value | 0x80));
        _bytes.Add((byte)value);
    }
}
