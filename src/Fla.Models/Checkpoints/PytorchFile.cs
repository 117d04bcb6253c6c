using System.Buffers.Binary;

namespace Fla.Models.Checkpoints;

/// <summary>
/// A state dict as <c>torch.save</c> writes it (<c>.pt</c>, <c>.bin</c>, <c>.pth</c>, of PyTorch 1.6 or later), opened for reading: a flat dict of tensors.
/// Nothing in the file is run: a pickle that asks for anything but tensors is refused by the name of what it asks for.
/// </summary>
public sealed class PytorchFile : TensorSource
{
    private const string PickleName = "data.pkl";
    private const long MaxPickleLength = 100_000_000;

    private readonly PositionedBytes _bytes;
    private readonly Dictionary<string, TensorInfo> _tensors = new(StringComparer.Ordinal);
    private readonly Dictionary<string, View> _views = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();
    private (string? Name, byte[] Bytes) _gathered = (null, []);

    private PytorchFile(PositionedBytes bytes)
    {
        _bytes = bytes;
        var start = new byte[(int)Math.Min(bytes.Length, 4)];
        bytes.Read(0, start);
        if (start.Length < 4 || BinaryPrimitives.ReadUInt32LittleEndian(start) != ZipDirectory.LocalHeader)
        {
            var isOld = start.Length == 4 && start[0] == 0x80;
            throw new CheckpointException(isOld ? "is of the format before PyTorch 1.6: load it there and save it again" : "not a file of torch.save", Location);
        }

        var entries = ZipDirectory.Read(bytes);
        var pickles = entries.Where(entry => entry.Key.EndsWith("/" + PickleName, StringComparison.Ordinal)).ToList();
        if (pickles is not [var pickle] || pickle.Value.Length > MaxPickleLength)
        {
            throw new CheckpointException($"not a file of torch.save: an archive without {PickleName}, or with several or too large ones", Location);
        }

        var root = pickle.Key[..^PickleName.Length];
        if (entries.TryGetValue(root + "byteorder", out var order) && Text(order) != "little")
        {
            throw new CheckpointException("was saved on a machine of another byte order", Location);
        }

        if (entries.ContainsKey(root + "constants.pkl"))
        {
            throw new CheckpointException("is a TorchScript program, not a state dict", Location);
        }

        foreach (var (name, tensor) in StateDictPickle.Read(ReadAll(pickle.Value), Location))
        {
            Add(name, tensor, entries, $"{root}data/{tensor.Storage}");
        }
    }

    /// <summary>Opens a file.</summary>
    /// <exception cref="CheckpointException">The file cannot be opened, is not one of <c>torch.save</c>, or holds more than a dict of tensors.</exception>
    public static PytorchFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return PositionedBytes.Open(path).HandTo(bytes => new PytorchFile(bytes));
    }

    /// <summary>Reads a file that is already in memory.</summary>
    /// <param name="bytes">The whole file; not copied, and not to be changed while in use.</param>
    /// <param name="name">What messages call it.</param>
    /// <exception cref="CheckpointException">Not a file of <c>torch.save</c>, or more than a dict of tensors.</exception>
    public static PytorchFile FromBytes(ReadOnlyMemory<byte> bytes, string name = "state dict") => new PositionedBytes(name, bytes).HandTo(b => new PytorchFile(b));

    /// <inheritdoc/>
    public override string Location => _bytes.Location;

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, TensorInfo> Tensors => _tensors;

    internal override void Read(TensorInfo info, long offset, Span<byte> destination)
    {
        var view = _views[info.Name];
        if (view.Strides is null)
        {
            _bytes.Read(view.Start + offset, destination, info.Name);
            return;
        }

        lock (_gate)
        {
            if (_gathered.Name != info.Name)
            {
                _gathered = (info.Name, Gather(info, view));
            }

            _gathered.Bytes.AsSpan((int)offset, destination.Length).CopyTo(destination);
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) => _bytes.Dispose();

    private void Add(string name, PickledTensor tensor, Dictionary<string, (long Offset, long Length)> entries, string entry)
    {
        var size = tensor.Type.SizeInBytes();
        if (!entries.TryGetValue(entry, out var range) || range.Length / size < tensor.StorageElements)
        {
            throw new CheckpointException($"its storage {entry} is missing, or too short for {tensor.StorageElements} elements", Location, name);
        }

        // An expanded tensor may have more elements than its storage, so their number is not bounded by the file.
        var (count, step, isDense) = (1L, 1L, true);
        for (var i = tensor.Shape.Length - 1; i >= 0; i--)
        {
            isDense &= tensor.Shape[i] == 1 || tensor.Strides[i] == step;
            try
            {
                count = checked(count * tensor.Shape[i]);
                _ = checked(count * size);
            }
            catch (OverflowException error)
            {
                throw new CheckpointException($"shape [{string.Join(", ", tensor.Shape)}] overflows", Location, name, error);
            }

            step = count;
        }

        _tensors.Add(name, new(name, tensor.Type, tensor.Shape, count, 0));
        _views.Add(name, new(range.Offset + tensor.First * size, isDense || count == 0 ? null : tensor.Strides));
    }

    /// <summary>A tensor whose elements do not follow one another, in row-major order.</summary>
    private byte[] Gather(TensorInfo info, View view)
    {
        var (shape, strides) = (info.Shape, view.Strides!);
        var size = info.Type.SizeInBytes();
        var span = 1 + shape.Zip(strides, (axis, stride) => (axis - 1) * stride).Sum();
        if (Math.Max(info.ByteLength, span * size) > Array.MaxLength)
        {
            throw new CheckpointException("its elements do not follow one another, and are more than one array can hold: save it contiguous", Location, info.Name);
        }

        var source = new byte[span * size];
        _bytes.Read(view.Start, source, info.Name);
        var target = new byte[info.ByteLength];
        var index = new long[strides.Length];
        long element = 0;
        for (var written = 0; written < target.Length; written += size)
        {
            source.AsSpan((int)element * size, size).CopyTo(target.AsSpan(written));
            for (var axis = index.Length - 1; axis >= 0; axis--)
            {
                element += strides[axis];
                if (++index[axis] < shape[axis])
                {
                    break;
                }

                element -= index[axis] * strides[axis];
                index[axis] = 0;
            }
        }

        return target;
    }

    private byte[] ReadAll((long Offset, long Length) range)
    {
        var bytes = new byte[range.Length];
        _bytes.Read(range.Offset, bytes);
        return bytes;
    }

    private string Text((long Offset, long Length) range) => System.Text.Encoding.ASCII.GetString(ReadAll((range.Offset, Math.Min(range.Length, 16)))).Trim();

    /// <summary>Where a tensor lies.</summary>
    /// <param name="Start">Its first byte in the file.</param>
    /// <param name="Strides">Steps of its axes; null when its elements follow one another.</param>
    private sealed record View(long Start, long[]? Strides);
}
