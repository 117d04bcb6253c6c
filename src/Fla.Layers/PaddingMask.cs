using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>
/// Which positions of a batch [B, S] hold tokens and which are padding; S counts the tokens in the cache too. A layer that sees T positions
/// looks at the last T columns.
/// </summary>
public sealed class PaddingMask : IDisposable
{
    private readonly bool[] _valid;
    private readonly Dictionary<int, PaddingWindow> _windows = [];

    /// <summary>A mask.</summary>
    /// <param name="device">Where the batch is.</param>
    /// <param name="rows">B.</param>
    /// <param name="columns">S.</param>
    /// <param name="valid">B·S values, row-major, true where there is a token.</param>
    /// <exception cref="ShapeException">Not B·S values, or a row without any token.</exception>
    public PaddingMask(ComputeDevice device, int rows, int columns, ReadOnlySpan<bool> valid)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        if (valid.Length != (long)rows * columns) throw new ShapeException($"{valid.Length} mask values were given for [{rows}, {columns}]");
        Device = device;
        Rows = rows;
        Columns = columns;
        _valid = valid.ToArray();
        for (var row = 0; row < rows; row++)
        {
            if (!Row(row).Contains(true)) throw new ShapeException($"row {row} of the mask has no token");
        }
    }

    /// <summary>Where the batch is.</summary>
    public ComputeDevice Device { get; }

    /// <summary>B.</summary>
    public int Rows { get; }

    /// <summary>S.</summary>
    public int Columns { get; }

    /// <summary>A mask of rows with the given numbers of tokens, at their ends (left padding).</summary>
    public static PaddingMask Left(ComputeDevice device, ReadOnlySpan<int> lengths)
    {
        var columns = 0;
        foreach (var length in lengths) columns = Math.Max(columns, length);
        var valid = new bool[lengths.Length * columns];
        for (var row = 0; row < lengths.Length; row++) valid.AsSpan(((row + 1) * columns) - lengths[row], lengths[row]).Fill(true);
        return new(device, lengths.Length, columns, valid);
    }

    /// <summary>Number of tokens in a row.</summary>
    public int Length(int row) => Row(row).Count(true);

    /// <summary>The last <paramref name="length"/> columns, or null when all of them hold tokens.</summary>
    /// <exception cref="ShapeException">There are not so many columns.</exception>
    public PaddingWindow? Window(int length)
    {
        if (length < 1 || length > Columns) throw new ShapeException($"a mask of {Columns} columns was given for {length} positions");
        var valid = new bool[Rows * length];
        for (var row = 0; row < Rows; row++) Row(row)[^length..].CopyTo(valid.AsSpan(row * length));
        if (!valid.Contains(false)) return null;
        if (!_windows.TryGetValue(length, out var window)) _windows.Add(length, window = new(Device, Rows, length, valid));
        return window;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var window in _windows.Values) window.Dispose();
        _windows.Clear();
    }

    private ReadOnlySpan<bool> Row(int row) => _valid.AsSpan(row * Columns, Columns);
}
