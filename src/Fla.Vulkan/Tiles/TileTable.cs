using System.Collections;

namespace Fla.Vulkan;

/// <summary>A kernel's choices: over cooperative matrices, and in plain arithmetic, which f32 takes on every device.</summary>
/// <param name="Kernel">Path of the shader under shaders/; ".large" is its form for large problems.</param>
/// <param name="Matrix">With cooperative matrices.</param>
/// <param name="Plain">In plain arithmetic.</param>
public readonly record struct TileRow(string Kernel, TileChoice Matrix, TileChoice Plain);

/// <summary>
/// What every kernel whose cut is a choice reads it from: one table a vendor (<see cref="VendorTiles"/>), in which a file of the user's may replace choices.
/// Immutable.
/// </summary>
public sealed class TileTable : IEnumerable<TileRow>
{
    private readonly Dictionary<string, TileRow> _rows = new(StringComparer.Ordinal);

    /// <summary>An empty table, to be filled by its initializer.</summary>
    /// <param name="name">Where its numbers are from.</param>
    /// <param name="sharedMemory">Bytes of shared memory that a workgroup of these kernels takes at most.</param>
    /// <param name="fill">Workgroups of 256 that keep the device busy.</param>
    /// <param name="packs">Large products pack their operands.</param>
    internal TileTable(string name, int sharedMemory, int fill, bool packs = false)
    {
        Name = name;
        SharedMemory = sharedMemory;
        Fill = fill;
        Packs = packs;
    }

    private TileTable(TileTable other) : this(other.Name, other.SharedMemory, other.Fill, other.Packs)
    {
        _rows = new(other._rows, StringComparer.Ordinal);
        Notes = other.Notes;
    }

    /// <summary>The vendor's own table for a device.</summary>
    public static TileTable BuiltIn(DeviceInfo device) => VendorTiles.For(device);

    /// <summary>Where its numbers are from.</summary>
    public string Name { get; private init; }

    /// <summary>Bytes of shared memory that a workgroup takes at most with the vendor's own choices.</summary>
    public int SharedMemory { get; }

    /// <summary>Workgroups of 256 that keep the device busy.</summary>
    public int Fill { get; }

    /// <summary>Large products bring their operands into the order of fragments first (shaders/gemm/packed.comp): where that was measured to be faster.</summary>
    public bool Packs { get; }

    /// <summary>What about the user's file is to be known: that it could not be used, or is older than the driver.</summary>
    public IReadOnlyList<string> Notes { get; private init; } = [];

    /// <summary>The choice for a kernel.</summary>
    /// <param name="kernel">Its name.</param>
    /// <param name="isMatrix">Over cooperative matrices.</param>
    /// <exception cref="ShaderException">The table has no such kernel.</exception>
    public TileChoice this[string kernel, bool isMatrix] => _rows.TryGetValue(kernel, out var row) ? isMatrix ? row.Matrix : row.Plain
        : throw new ShaderException($"the tile table has no kernel {kernel}");

    /// <summary>The table with another choice for a kernel.</summary>
    /// <exception cref="ShaderException">The table has no such kernel.</exception>
    public TileTable With(string kernel, bool isMatrix, TileChoice choice)
    {
        var changed = new TileTable(this);
        _ = this[kernel, isMatrix];
        changed._rows[kernel] = isMatrix ? _rows[kernel] with { Matrix = choice } : _rows[kernel] with { Plain = choice };
        return changed;
    }

    internal TileTable From(string name) => new(this) { Name = name };

    internal TileTable WithNote(string note) => new(this) { Notes = [.. Notes, note] };

    /// <inheritdoc/>
    public IEnumerator<TileRow> GetEnumerator() => _rows.Values.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    internal void Add(string kernel, TileChoice matrix, TileChoice plain) => _rows.Add(kernel, new(kernel, matrix, plain));
}
