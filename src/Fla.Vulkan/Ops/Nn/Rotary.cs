namespace Fla.Vulkan.Ops;

/// <summary>Rotary position embedding (Su et al. 2021, arXiv:2104.09864).</summary>
public static class Rotary
{
    private const int MaxWidth = 256;
    private const int HeadsPerInvocation = 8;
    private const uint FlagWide = 1, FlagInterleaved = 2, FlagBackward = 4, FlagOffsetStride = 8;

    private static readonly Kernel<Args> Kernel = new("rotary/rotary");

    private readonly record struct Args(In X, In CuSeqlens, In Offsets, Out Y, ulong F0, ulong R1, ulong R2, ulong R4, ulong R8, ulong R16, ulong R32, ulong R64,
        uint Tokens, uint Length, uint Heads, uint Width, uint Half, uint Sequences, int Offset);

    private sealed record Call(float Base, int Offset, bool Interleaved, int Dim, int Sequences);

    /// <summary>
    /// Turns pairs of channels by position·base^(−2i/dim): (x₀, x₁) → (x₀ cos − x₁ sin, x₀ sin + x₁ cos). The position of a token is its place in its sequence plus
    /// the offsets. A negative position gives zeros in the turned channels. Angles are reduced exactly, so that large positions keep their accuracy.
    /// </summary>
    /// <param name="x">f32, f16 or bf16 [B,T,H,D].</param>
    /// <param name="theta">The base of the frequencies, more than 1.</param>
    /// <param name="offset">Position of every sequence's first token.</param>
    /// <param name="offsets">i32 [N] or [1], added to <paramref name="offset"/>: read by the device at each run, so a captured graph moves on when it changes. N is B, or the number of packed sequences.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B is then 1.</param>
    /// <param name="interleaved">Pairs (2i, 2i + 1) instead of (i, i + dim/2).</param>
    /// <param name="rotaryDim">How many channels turn: even, at most D and 256; the others are copied. All when null.</param>
    /// <returns>[B,T,H,D] in the type of x.</returns>
    /// <exception cref="ShapeException">Sizes that do not fit.</exception>
    /// <exception cref="DTypeException">x holds integers, or the offsets are not i32.</exception>
    public static Tensor Apply(Tensor x, float theta = 10000, int offset = 0, Tensor? offsets = null, CuSeqlens? cuSeqlens = null,
        bool interleaved = false, int? rotaryDim = null)
    {
        Require.SameDevice(x, offsets, cuSeqlens?.Starts);
        Require.Rank(x, 4, "x");
        Require.Float(x, "x");
        var dim = rotaryDim ?? x.Size(3);
        Require.That(dim > 0 && dim % 2 == 0 && dim <= x.Size(3) && dim <= MaxWidth, $"rotaryDim is even, at most {MaxWidth} and at most the head width, not {dim} of x {x.Describe()}");
        Require.That(theta > 1 && float.IsFinite(theta), $"theta is more than 1, not {theta}");
        var sequences = cuSeqlens.SequencesOf(x);
        Require.Type(offsets, DType.Int32, "offsets");
        Require.That(offsets is null || offsets.Count == 1 || offsets.Count == sequences, $"offsets needs 1 or {sequences} elements, it is {offsets?.Describe()}");

        var call = new Call(theta, offset, interleaved, dim, sequences);
        var y = Tensor.EmptyLike(x);
        Launch(call, x, y, offsets, cuSeqlens?.Starts, backward: false);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record("rotary", [x], [y], [offsets, cuSeqlens?.Starts], static (ctx, dy) =>
            {
                if (dy[0] is not { } d) return [null];
                var dx = Tensor.EmptyLike(d);
                Launch(ctx.State<Call>(), d, dx, ctx.Saved(0), ctx.Saved(1), backward: true);
                return [dx];
            }, call);
        }
        return y;
    }

    private static void Launch(Call call, Tensor x, Tensor y, Tensor? offsets, Tensor? starts, bool backward)
    {
        if (x.Count == 0) return;
        int width = x.Size(3), heads = x.Size(2), half = call.Dim / 2;
        var tokens = (long)x.Size(0) * x.Size(1);
        var units = (half + 3) / 4 + (width - call.Dim + 3) / 4;
        // Heads share a token's angles; small inputs are spread out instead.
        var step = tokens * heads * units > 1 << 20 ? Math.Min(heads, HeadsPerInvocation) : 1;
        var wide = half % 4 == 0 && RowLayout.Wide(width, x, y) != 0;
        var flags = (wide ? FlagWide : 0) | (call.Interleaved ? FlagInterleaved : 0) | (backward ? FlagBackward : 0)
            | (offsets is { Count: > 1 } ? FlagOffsetStride : 0);
        ulong Power(int k) => Fraction(Math.Pow(call.Base, -2.0 * k / call.Dim));
        Kernel.Launch(x.Device, new(x, starts, offsets, y, Fraction(1 / (2 * Math.PI)), Power(1), Power(2), Power(4), Power(8), Power(16), Power(32), Power(64),
            RowLayout.Index(tokens, x), (uint)x.Size(1), (uint)heads, (uint)width, (uint)half, (uint)call.Sequences, call.Offset),
            Grid.Over(tokens * ((heads + step - 1) / step) * units, RowLayout.Workgroup), null, RowLayout.Workgroup, RowLayout.TypeCode(x), flags, (uint)step);
    }

    /// <summary>A number in [0, 1) in units of 2⁻⁶⁴.</summary>
    private static ulong Fraction(double x) => x >= 1 ? ulong.MaxValue : (ulong)Math.ScaleB(x, 64);
}
