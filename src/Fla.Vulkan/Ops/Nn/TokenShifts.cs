namespace Fla.Vulkan.Ops;

/// <summary>Token shift (RWKV).</summary>
public static class TokenShifts
{
    private static readonly Kernel<Args> Kernel = new("conv/token_shift");

    private readonly record struct Args(In X, In State, Out Y, Out Last, In Starts, uint Tokens, uint Channels, uint Span, uint Sequences, uint Types, uint Wide, uint Backward);

    private sealed record Saved(int[] Shape, DType Type, int Sequences, DType? CacheType);

    /// <summary>δ_t = x_{t−1} − x_t within each sequence; x_{−1} comes from the cache, or is 0. Gradients flow to x and the cache, also from the cache that comes out.</summary>
    /// <param name="x">f32, f16 or bf16 [B,T,D].</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B is then 1.</param>
    /// <param name="cache">[N,D], any float type: the input before each sequence. N is B, or the number of packed sequences.</param>
    /// <param name="outputCache">Whether to return the last input of each sequence.</param>
    /// <returns>δ [B,T,D] in x's type; the last inputs [N,D] in the cache's type, or x's without one, or null.</returns>
    /// <exception cref="ShapeException">Sizes that do not fit.</exception>
    /// <exception cref="DTypeException">x or the cache holds integers.</exception>
    public static (Tensor Delta, Tensor? Cache) TokenShift(Tensor x, CuSeqlens? cuSeqlens = null, Tensor? cache = null, bool outputCache = false)
    {
        Require.SameDevice(x, cache, cuSeqlens?.Starts);
        Require.Rank(x, 3, "x");
        Require.Float(x, "x");
        Require.Float(cache, "cache");
        var sequences = cuSeqlens.SequencesOf(x);
        Require.Shape(cache, "cache", sequences, x.Size(2));

        var delta = Tensor.EmptyLike(x);
        var last = outputCache ? Tensor.Empty(x.Device, cache?.DType ?? x.DType, sequences, x.Size(2)) : null;
        Run(x, cache, delta, last, cuSeqlens?.Starts, sequences, isBackward: false);
        if (Autograd.IsRecording(x, cache))
        {
            Autograd.Record("token_shift", [x, cache], last is null ? [delta] : [delta, last], [cuSeqlens?.Starts], static (ctx, dy) =>
            {
                var (shape, type, sequences, cacheType) = ctx.State<Saved>();
                var dlast = dy.Length > 1 ? dy[1] : null;
                var device = (dy[0] ?? dlast!).Device;
                var ddelta = dy[0] ?? Tensor.Zeros(device, type, shape);
                var dx = Tensor.EmptyLike(ddelta);
                var dcache = ctx.Needs(1) ? Tensor.Empty(device, cacheType!.Value, sequences, shape[2]) : null;
                Run(ddelta, dlast, dx, dcache, ctx.Saved(0), sequences, isBackward: true);
                return [dx, dcache];
            }, new Saved(x.Shape.ToArray(), x.DType, sequences, cache?.DType));
        }
        return (delta, last);
    }

    private static void Run(Tensor x, Tensor? state, Tensor y, Tensor? last, Tensor? starts, int sequences, bool isBackward)
    {
        var channels = x.Size(2);
        var tokens = (long)x.Size(0) * x.Size(1);
        var types = RowLayout.TypeCode(x) | RowLayout.TypeCode(state) << 4 | RowLayout.TypeCode(last) << 8;
        Kernel.Launch(x.Device, new(x, state, y, last, starts, RowLayout.Index(tokens + sequences, x) - (uint)sequences, (uint)channels, (uint)x.Size(1), (uint)sequences,
            types, RowLayout.Wide(channels, x, state, y, last), isBackward ? 1u : 0u), Grid.Over((tokens + sequences) * ((channels + 3) / 4), RowLayout.Workgroup), null, RowLayout.Workgroup);
    }
}
