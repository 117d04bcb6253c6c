namespace Fla.Vulkan.Ops;

/// <summary>CUM: cumulative sums along time, of chunks or of whole sequences (shaders/linear/chunk_cumsum.comp).</summary>
internal static class ChunkCumsum
{
    private const int Workgroup = 64;

    private static readonly Kernel<Args> Kernel = new("linear/chunk_cumsum");

    private readonly record struct Args(In X, In XWeight, In Z, In ZWeight, In Start, Out Y, Out Total, In Packed,
        uint Sequences, uint T, uint C, uint Columns, uint Segments, uint Parts, uint Rows, uint Flags);

    [Flags]
    internal enum Order : uint
    {
        Forward = 0,
        Reverse = 1,
        Exclusive = 2,
    }

    /// <summary>The terms summed: x (times weight), minus z (times weight), each the sum of equal parts behind one another.</summary>
    internal readonly record struct Terms(Tensor X, Tensor? XWeight = null, Tensor? Z = null, Tensor? ZWeight = null, int Parts = 1);

    /// <summary>Sums inside every chunk; <paramref name="start"/> and <paramref name="total"/> are [chunks, columns].</summary>
    public static void Chunks(LinearShape shape, int chunk, in Terms terms, int columns, Tensor? y, Order order = Order.Forward, Tensor? start = null, Tensor? total = null) =>
        Launch(terms, start, y, total, shape.Table(chunk), shape.N, shape.T, chunk, columns, shape.Chunks(chunk), shape.Tokens, (uint)order);

    /// <summary>Sums over every sequence, serially; <paramref name="start"/> and <paramref name="total"/> are [N, columns].</summary>
    public static void Sequences(LinearShape shape, in Terms terms, int columns, Tensor? y, Order order = Order.Forward, Tensor? start = null, Tensor? total = null) =>
        Launch(terms, start, y, total, shape.Packed?.Starts, shape.N, shape.T, 1, columns, shape.N, shape.Tokens, (uint)order | PerSequence);

    /// <summary>
    /// Sums over every sequence, with the chunks in parallel: totals of the chunks, their running sums, then the sums inside the chunks from there.
    /// </summary>
    public static void Parallel(LinearShape shape, in Terms terms, int columns, Tensor y, Order order, Tensor? start, Tensor total)
    {
        const int Chunk = 64;
        var device = y.Device;
        var chunks = shape.Chunks(Chunk);
        using var sums = Tensor.Empty(device, DType.Float32, chunks, columns);
        using var carry = Tensor.Empty(device, DType.Float32, chunks, columns);
        Chunks(shape, Chunk, terms, columns, null, order, null, sums);
        using var offsets = shape.Table(Chunk)?.Narrow(shape.N + 1, shape.N + 1);
        Launch(new(sums), start, carry, total, offsets, shape.N, (shape.T + Chunk - 1) / Chunk, 1, columns, shape.N, chunks, (uint)(order | Order.Exclusive) | PerSequence);
        Chunks(shape, Chunk, terms, columns, y, order, carry);
    }

    private const uint PerSequence = 4;

    private static void Launch(in Terms terms, Tensor? start, Tensor? y, Tensor? total, Tensor? packed,
        int sequences, int length, int chunk, int columns, int segments, int rows, uint flags)
    {
        var isPlain = terms is { XWeight: null, Z: null, Parts: 1 };
        var isDifference = terms is { XWeight: null, Z: not null, ZWeight: null, Parts: 1 };
        var areQuads = isPlain && columns % 4 == 0 && columns >= 4 * Workgroup && ChunkTiles.AreWhole(8, 8, terms.X, y, start, total);
        var width = areQuads ? 4 : 1;
        var tiles = (columns + Workgroup * width - 1) / (Workgroup * width);
        Kernel.Launch(terms.X.Device,
            new(terms.X, terms.XWeight, terms.Z, terms.ZWeight, start, y, total, packed,
                (uint)sequences, (uint)length, (uint)chunk, (uint)columns, (uint)segments, (uint)terms.Parts, (uint)rows, flags),
            Grid.Linear((long)tiles * segments), terms.X.DType.Variant(), Workgroup, areQuads ? 4u : isPlain ? 1u : isDifference ? 2u : 0);
    }
}
