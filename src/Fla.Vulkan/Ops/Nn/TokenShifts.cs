namespace Fla.Vulkan.Ops;

/// <summary>RWKV's token shift (Peng et al. 2023; shaders/conv/token_shift.comp).</summary>
public static class TokenShifts
{
    private static readonly Kernel<Args> ShiftKernel = new("conv/token_shift");

    private readonly record struct Args(In X, In State, Out Y, Out DState, In Starts, uint Tokens, uint Channels, uint Length, uint Sequences, uint StateType, uint DStateType,
        uint Backward);

    private sealed record Saved(CuSeqlens? CuSeqlens, DType XType, int[] Shape, DType? CacheType);

    /// <summary>δ_t = x_{t−1} − x_t within each sequence; before its first token stands the cache, else 0.</summary>
    /// <param name="x">[B, T, D].</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <param name="cache">The last input before each sequence: [N, D] of any float type, or null.</param>
    /// <param name="outputCache">Return the last input of each sequence.</param>
    /// <returns>δ of x's shape and type; the cache [N, D] in the given cache's type, else x's, or null.</returns>
    /// <exception cref="ShapeException">Shapes do not fit.</exception>
    /// <exception cref="DTypeException">An operand holds integers.</exception>
    public static (Tensor Delta, Tensor? Cache) TokenShift(Tensor x, CuSeqlens? cuSeqlens = null, Tensor? cache = null, bool outputCache = false)
    {
        Require.SameDevice(x, cache);
        Require.Rank(x, 3, nameof(x));
        Require.Float(x, nameof(x));
        Require.Float(cache, nameof(cache));
        TokenSequences.Check(x, cuSeqlens);
        Require.Shape(cache, nameof(cache), cuSeqlens?.Count ?? x.Size(0), x.Size(2));
        var delta = Tensor.EmptyLike(x);
        Launch(x, cache, delta, null, cuSeqlens, isBackward: false);
        var last = outputCache ? Convolutions.LastInputs(x, cache, cuSeqlens) : null;
        if (Autograd.IsRecording(x, cache))
        {
            Autograd.Record("token_shift", [x, cache], last is null ? [delta] : [delta, last], [], Backward, new Saved(cuSeqlens, x.DType, x.Shape.ToArray(), cache?.DType));
        }
        return (delta, last);
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        var (cuSeqlens, type, shape, cacheType) = ctx.State<Saved>();
        var dlast = dy.Length > 1 ? dy[1] : null;
        if (dy[0] is null && dlast is null) return [null, null];
        var device = (dy[0] ?? dlast)!.Device;
        var given = dy[0]?.As(type) ?? Tensor.Zeros(device, type, shape);
        var dx = Tensor.EmptyLike(given);
        Tensor? dcache = null;
        if (ctx.Needs(1))
        {
            // An empty sequence hands the gradient of its last input on to the cache; the others are overwritten.
            dcache = Tensor.Zeros(device, cacheType!.Value, cuSeqlens?.Count ?? shape[0], shape[2]);
            if (dlast != null) dcache.CopyFrom(dlast);
        }
        Launch(given, dlast, dx, dcache, cuSeqlens, isBackward: true);
        return [dx, dcache];
    }

    private static void Launch(Tensor x, Tensor? state, Tensor y, Tensor? dstate, CuSeqlens? cuSeqlens, bool isBackward)
    {
        var tokens = (long)x.Size(0) * x.Size(1);
        ShiftKernel.Launch(x.Device, new(x, state, y, dstate, cuSeqlens?.Starts, RowLayout.Index(tokens, x), (uint)x.Size(2), (uint)x.Size(1), (uint)(cuSeqlens?.Count ?? x.Size(0)),
            RowLayout.TypeCode(state), RowLayout.TypeCode(dstate), isBackward ? 1u : 0u), Grid.Over(x.Count, RowLayout.Workgroup), x.DType.Variant(), RowLayout.Workgroup);
    }
}
