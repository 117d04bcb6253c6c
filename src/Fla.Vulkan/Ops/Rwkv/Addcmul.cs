namespace Fla.Vulkan.Ops;

/// <summary>x + δ ⊙ m for up to six mix vectors at once (shaders/rwkv/addcmul.comp).</summary>
internal static class Addcmul
{
    private const int Most = 6;

    private static readonly Kernel<Args> Kernel = new("rwkv/addcmul");
    private static readonly Kernel<BackwardArgs> BackwardKernel = new("rwkv/addcmul_backward");

    private readonly record struct Args(In X, In Delta, In M0, In M1, In M2, In M3, In M4, In M5, Out Y, uint N, uint Width, uint Count, uint MixType, uint Wide);

    private readonly record struct BackwardArgs(In D0, In D1, In D2, In D3, In D4, In D5, In M0, In M1, In M2, In M3, In M4, In M5, In Delta, Out DX, Out DDelta, Out Partial,
        uint Tokens, uint Width, uint MixType, uint Chunk, uint Wide);

    /// <summary>The streams, sharing one allocation.</summary>
    public static Tensor[] Run(Tensor x, Tensor delta, Tensor[] mixes, string[] names)
    {
        Require.SameDevice([x, delta, .. mixes]);
        Require.Float(x, "x");
        Require.That(x.Rank > 0 && x.Count > 0, $"x needs elements, it is {x.Describe()}");
        Require.Type(delta, x.DType, "delta");
        Require.Shape(delta, "delta", x.Shape);
        var width = x.Size(-1);
        for (var i = 0; i < mixes.Length; i++)
        {
            Require.Float(mixes[i], names[i]);
            Require.Type(mixes[i], mixes[0].DType, names[i]);
            Require.That(mixes[i].Count == width, $"{names[i]} needs {width} elements, it is {mixes[i].Describe()}");
        }

        using var scope = new TensorScope();
        var all = Tensor.Empty(x.Device, x.DType, [mixes.Length, .. x.Shape]);
        Tensor?[] m = Padded(mixes);
        Kernel.Launch(x.Device, new(x, delta, m[0], m[1], m[2], m[3], m[4], m[5], all, RowLayout.Index(x.Count, x), (uint)width, (uint)mixes.Length,
            RowLayout.TypeCode(m[0]), RowLayout.Wide(width, [x, delta, .. mixes])), Grid.Over(x.Count / width * ((width + 3) / 4), RowLayout.Workgroup), x.DType.Variant(), RowLayout.Workgroup);
        var streams = mixes.Select((_, i) => scope.Keep(all.Narrow(i, 1).View(x.Shape))).ToArray();
        if (Autograd.IsRecording([x, delta, .. mixes]))
        {
            Autograd.Record("addcmul", [x, delta, .. mixes], streams, [delta, .. mixes], Backward);
        }
        return streams;
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        var delta = ctx.Saved(0)!;
        Tensor[] mixes = [.. Enumerable.Range(1, dy.Length).Select(i => ctx.Saved(i)!)];
        Tensor?[] m = Padded(mixes), d = Padded(dy.Select(x => x?.As(delta.DType)));
        int width = delta.Size(-1), tokens = (int)(delta.Count / width);
        Tensor dx = Tensor.EmptyLike(delta), ddelta = Tensor.EmptyLike(delta);
        var splits = ColumnSplits.Of(delta.Device, tokens, width);
        using var partial = Tensor.Empty(delta.Device, DType.Float32, splits.Count, Most, width);
        BackwardKernel.Launch(delta.Device, new(d[0], d[1], d[2], d[3], d[4], d[5], m[0], m[1], m[2], m[3], m[4], m[5], delta, dx, ddelta, partial, (uint)tokens, (uint)width,
            RowLayout.TypeCode(m[0]), (uint)splits.Chunk, RowLayout.Wide(width, [delta, dx, ddelta, .. mixes, .. d])), splits.Grid(width), delta.DType.Variant(), ColumnSplits.Workgroup);
        var sums = Reductions.Run(partial, 1, splits.Count, (long)Most * width, Reduction.Sum, mixes[0].DType, [Most, width]);
        return [dx, ddelta, .. mixes.Select((x, i) => sums.Narrow(i, 1).View(x.Shape))];
    }

    private static Tensor?[] Padded(IEnumerable<Tensor?> given) => [.. given.Concat(new Tensor?[Most]).Take(Most)];
}
