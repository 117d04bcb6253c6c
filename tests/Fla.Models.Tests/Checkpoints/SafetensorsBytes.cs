using System.Buffers.Binary;
using System.Text;

namespace Fla.Models.Tests.Checkpoints;

/// <summary>Safetensors files put together by hand, valid or not.</summary>
internal static class SafetensorsBytes
{
    /// <summary>A header as given, with its true length in front, and <paramref name="dataLength"/> bytes 0, 1, 2, … behind.</summary>
    public static byte[] Build(string json, int dataLength) => Build(Encoding.UTF8.GetBytes(json), dataLength);

    /// <inheritdoc cref="Build(string, int)"/>
    public static byte[] Build(byte[] json, int dataLength)
    {
        var file = new byte[8 + json.Length + dataLength];
        BinaryPrimitives.WriteUInt64LittleEndian(file, (ulong)json.Length);
        json.CopyTo(file, 8);
        for (var i = 0; i < dataLength; i++)
        {
            file[8 + json.Length + i] = (byte)i;
        }

        return file;
    }
}
