namespace Fla.Vulkan.Ops;

/// <summary>Rotary position embedding (Su et al. 2021; shaders/rotary). Angles are exact to fp32 at any position.</summary>
public static class Rotary
{
    private static readonly Kernel<Args> RotaryKernel = new("rotary/rotary");

    private readonly record struct Args(In X, Out Y, In Frequencies, In Offsets, In Starts, uint Tokens, uint Heads, uint Width, uint Dim, uint Length, uint Sequences,
        uint OffsetType, uint OffsetStride, int Offset, uint Limit, uint Interleaved, float Direction);

    private sealed record Call(bool Interleaved, int Offset, CuSeqlens? CuSeqlens, int Limit);

    /// <summary>The frequencies θ_i = base^(−2i/dim) of <paramref name="dim"/> channels, to be made once a layer: i64 [dim / 2], in turns as a fraction of 2⁶⁴.</summary>
    /// <param name="device">Where.</param>
    /// <param name="dim">How many channels turn; even and positive.</param>
    /// <param name="theta">The base, above 1.</param>
    /// <exception cref="ShapeException">The number is odd, or the base out of range.</exception>
    public static Tensor Frequencies(ComputeDevice device, int dim, double theta = 10000)
    {
        Require.That(dim > 0 && dim % 2 == 0, $"rotary embedding turns an even number of channels, not {dim}");
        Require.That(theta >= 1 && double.IsFinite(theta), $"rotary embedding needs a base from 1 on, not {theta}");
        var turns = Enumerable.Range(0, dim / 2).Select(i => (long)(Math.Pow(theta, -2.0 * i / dim) / (2 * Math.PI) * 18446744073709551616.0)).ToArray();
        return Tensor.FromInt64(device, turns, turns.Length);
    }

    /// <summary>
    /// Turns pairs of channels of every head by position · θ_i; channels past those of the frequencies pass. The position of a token is its place in its
    /// sequence plus the offsets; where it is negative, or from <paramref name="limit"/> on, the turned channels become zeros.
    /// </summary>
    /// <param name="x">[B, T, H, D].</param>
    /// <param name="frequencies">From <see cref="Frequencies"/>, for at most D channels.</param>
    /// <param name="interleaved">Pairs (2i, 2i + 1) instead of (i, i + dim/2).</param>
    /// <param name="offset">Added to all positions.</param>
    /// <param name="offsets">Added too: i32 or i64 [N] or [1], on the device.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences, at which places begin at 0 again; B must then be 1.</param>
    /// <param name="limit">First position that gives zeros; 0 for none.</param>
    /// <returns>Of x's shape and type.</returns>
    /// <exception cref="ShapeException">Shapes do not fit.</exception>
    /// <exception cref="DTypeException">x holds integers, or frequencies or offsets have another type.</exception>
    public static Tensor Apply(Tensor x, Tensor frequencies, bool interleaved = false, int offset = 0, Tensor? offsets = null, CuSeqlens? cuSeqlens = null, int limit = 0)
    {
        Require.SameDevice(x, frequencies, offsets, cuSeqlens?.Starts);
        Require.Rank(x, 4, nameof(x));
        Require.Float(x, nameof(x));
        Require.Rank(frequencies, 1, nameof(frequencies));
        Require.Type(frequencies, DType.Int64, nameof(frequencies));
        Require.That(2 * frequencies.Count <= x.Size(3), $"{2 * frequencies.Count} channels cannot turn in heads of {x.Size(3)}");
        Require.That(limit >= 0, $"the limit of positions is not negative: {limit}");
        TokenSequences.Check(x, cuSeqlens);
        var sequences = cuSeqlens?.Count ?? x.Size(0);
        if (offsets is not null)
        {
            if (offsets.DType is not (DType.Int32 or DType.Int64)) throw new DTypeException($"offsets are i32 or i64, these are {offsets.Describe()}");
            Require.That(offsets.Rank == 1 && (offsets.Count == 1 || offsets.Count == sequences), $"offsets {offsets.Describe()} are not one for each of {sequences} sequences");
        }
        var call = new Call(interleaved, offset, cuSeqlens, limit);
        var y = Turn(x, frequencies, offsets, call, 1);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("rotary", [x], [y], [frequencies, offsets], static (ctx, dy) =>
                [dy[0] is { } given ? Turn(given, ctx.Saved(0)!, ctx.Saved(1), ctx.State<Call>(), -1) : null], call);
        }
        return y;
    }

    private static Tensor Turn(Tensor x, Tensor frequencies, Tensor? offsets, Call call, float direction)
    {
        var y = Tensor.EmptyLike(x);
        int batch = x.Size(0), length = x.Size(1), heads = x.Size(2), width = x.Size(3), dim = 2 * (int)frequencies.Count;
        var tokens = (long)batch * length;
        RotaryKernel.Launch(x.Device, new(x, y, frequencies, offsets, call.CuSeqlens?.Starts, RowLayout.Index(tokens, x), (uint)heads, (uint)width, (uint)dim, (uint)length,
            (uint)(call.CuSeqlens?.Count ?? batch), RowLayout.TypeCode(offsets), offsets is { Count: > 1 } ? 1u : 0u, call.Offset, (uint)call.Limit, call.Interleaved ? 1u : 0u,
            direction), Grid.Over(tokens * heads * (width - (dim / 2)), RowLayout.Workgroup), x.DType.Variant(), RowLayout.Workgroup);
        return y;
    }
}
