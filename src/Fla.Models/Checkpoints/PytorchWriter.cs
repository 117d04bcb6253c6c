using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace Fla.Models.Checkpoints;

/// <summary>
/// Writes state dicts that <c>torch.load</c> reads, with <c>weights_only=True</c> too. As safetensors files, they are there whole or not at all.
/// </summary>
public static class PytorchWriter
{
    private const string Root = "archive/";

    /// <summary>Writes one file.</summary>
    /// <param name="path">The file to create or replace.</param>
    /// <param name="tensors">What to save, in the dict's order.</param>
    /// <param name="aliases">Names that follow, each with the name of the tensor that it shares; null for none.</param>
    /// <exception cref="CheckpointException">A name twice, an alias of nothing, a producer that wrote too little or too much, or the disk refuses.</exception>
    public static void Write(string path, IEnumerable<TensorData> tensors, IReadOnlyDictionary<string, string>? aliases = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(tensors);
        var all = tensors.ToList();
        var entries = Entries(path, all, aliases ?? new Dictionary<string, string>());
        AtomicFile.Write(path, stream =>
        {
            using var archive = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true);
            Store(archive, "data.pkl", target => target.Write(Pickle(entries)));
            Store(archive, "byteorder", target => target.Write("little"u8));
            for (var i = 0; i < all.Count; i++)
            {
                var tensor = all[i];
                Store(archive, $"data/{i}", target =>
                {
                    tensor.WriteTo(target);
                    if (target.Position != tensor.ByteLength)
                    {
                        throw new CheckpointException($"its producer wrote {target.Position} bytes instead of {tensor.ByteLength}", path, tensor.Name);
                    }
                });
            }

            Store(archive, "version", target => target.Write("3\n"u8));
        });
    }

    private static List<(string Name, TensorData Tensor, int Storage)> Entries(string path, List<TensorData> tensors, IReadOnlyDictionary<string, string> aliases)
    {
        var entries = tensors.Select((tensor, i) => (tensor.Name, tensor, i)).ToList();
        foreach (var (alias, name) in aliases)
        {
            var index = tensors.FindIndex(tensor => tensor.Name == name);
            entries.Add(index >= 0 ? (alias, tensors[index], index) : throw new CheckpointException($"shares '{name}', which is not saved", path, alias));
        }

        return entries.GroupBy(entry => entry.Name, StringComparer.Ordinal).FirstOrDefault(group => group.Skip(1).Any()) is { } twice
            ? throw new CheckpointException("given twice", path, twice.Key) : entries;
    }

    private static void Store(ZipArchive archive, string name, Action<Stream> write)
    {
        using var target = archive.CreateEntry(Root + name, CompressionLevel.NoCompression).Open();
        write(target);
    }

    private static byte[] Pickle(List<(string Name, TensorData Tensor, int Storage)> entries)
    {
        using var pickle = new MemoryStream();
        pickle.Write([0x80, 2]);
        Call("collections", "OrderedDict");
        pickle.Write(")R("u8);
        foreach (var (name, tensor, storage) in entries)
        {
            Text(name);
            Call("torch._utils", "_rebuild_tensor_v2");
            pickle.Write("(("u8);
            Text("storage");
            Call("torch", StateDictPickle.StorageName(tensor.Type));
            Text(storage.ToString(System.Globalization.CultureInfo.InvariantCulture));
            Text("cpu");
            Number(tensor.ByteLength / tensor.Type.SizeInBytes());
            pickle.Write("tQ"u8);
            Number(0);
            Tuple(tensor.Shape);
            Tuple([.. tensor.Shape.Select((_, axis) => tensor.Shape.Skip(axis + 1).Aggregate(1L, (step, size) => step * Math.Max(size, 1)))]);
            pickle.WriteByte(0x89);
            Call("collections", "OrderedDict");
            pickle.Write(")RtR"u8);
        }

        pickle.Write("u."u8);
        return pickle.ToArray();

        void Call(string module, string name) => pickle.Write(Encoding.UTF8.GetBytes($"c{module}\n{name}\n"));

        void Text(string text)
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            Span<byte> head = [(byte)'X', 0, 0, 0, 0];
            BinaryPrimitives.WriteInt32LittleEndian(head[1..], bytes.Length);
            pickle.Write(head);
            pickle.Write(bytes);
        }

        void Number(long value)
        {
            Span<byte> bytes = [0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 0];
            BinaryPrimitives.WriteInt64LittleEndian(bytes[2..], value);
            pickle.Write(bytes);
        }

        void Tuple(IReadOnlyList<long> values)
        {
            pickle.WriteByte((byte)'(');
            foreach (var value in values)
            {
                Number(value);
            }

            pickle.WriteByte((byte)'t');
        }
    }
}
