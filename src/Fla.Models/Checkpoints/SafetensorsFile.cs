namespace Fla.Models.Checkpoints;

/// <summary>
/// A safetensors file, opened for reading. The header is validated before anything is believed: lengths before memory is allocated, offsets
/// before data is read. Data is read by position when asked for, so a file that shrinks while it is open is an error and not a crash.
/// </summary>
public sealed class SafetensorsFile : TensorSource
{
    private readonly PositionedBytes _bytes;
    private readonly SafetensorsHeader _header;
    private readonly long _dataStart;

    private SafetensorsFile(PositionedBytes bytes)
    {
        _bytes = bytes;
        var prefix = new byte[(int)Math.Min(bytes.Length, SafetensorsHeader.PrefixLength)];
        bytes.Read(0, prefix);
        var json = new byte[SafetensorsHeader.ReadLength(prefix, bytes.Length, Location)];
        bytes.Read(prefix.Length, json);
        _dataStart = prefix.Length + json.Length;
        _header = SafetensorsHeader.Parse(json, bytes.Length - _dataStart, Location);
    }

    /// <summary>Opens a file.</summary>
    /// <exception cref="CheckpointException">The file cannot be opened, or is not a valid safetensors file.</exception>
    public static SafetensorsFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return PositionedBytes.Open(path).HandTo(bytes => new SafetensorsFile(bytes));
    }

    /// <summary>Reads a file that is already in memory.</summary>
    /// <param name="bytes">The whole file; not copied, and not to be changed while in use.</param>
    /// <param name="name">What messages call it.</param>
    /// <exception cref="CheckpointException">Not a valid safetensors file.</exception>
    public static SafetensorsFile FromBytes(ReadOnlyMemory<byte> bytes, string name = "safetensors") => new(new PositionedBytes(name, bytes));

    /// <inheritdoc/>
    public override string Location => _bytes.Location;

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, TensorInfo> Tensors => _header.Tensors;

    /// <summary>The header's <c>__metadata__</c>; empty when there is none.</summary>
    public IReadOnlyDictionary<string, string> Metadata => _header.Metadata;

    internal override void Read(TensorInfo info, long offset, Span<byte> destination)
        => _bytes.Read(_dataStart + info.Offset + offset, destination, info.Name);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) => _bytes.Dispose();
}
