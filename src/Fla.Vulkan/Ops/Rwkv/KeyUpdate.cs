namespace Fla.Vulkan.Ops;

/// <summary>k + k ⊙ (a − 1) ⊙ ka (shaders/rwkv/update_key.comp).</summary>
internal static class KeyUpdate
{
    private static readonly Kernel<Args> Kernel = new("rwkv/update_key");

    private readonly record struct Args(In K, In A, In Ka, Out Y, In DY, Out DK, Out DA, Out Partial, uint Tokens, uint Width, uint KaType, uint Chunk, uint Wide);

    public static Tensor Run(Tensor k, Tensor a, Tensor ka)
    {
        Require.SameDevice(k, a, ka);
        Require.Float(k, "k");
        Require.Float(ka, "ka");
        Require.Type(a, k.DType, "a");
        Require.Shape(a, "a", k.Shape);
        Require.That(k.Count > 0, $"k needs elements, it is {k.Describe()}");
        int width = checked((int)ka.Count);
        Require.That(WidthIs(k, width), $"ka needs the channels of a token of k, {k.Describe()}: it is {ka.Describe()}");
        var y = Tensor.EmptyLike(k);
        Launch(k, a, ka, y, null, null, null, null, ColumnSplits.Of(k.Device, (int)(k.Count / width), width));
        if (Autograd.IsRecording(k, a, ka)) Autograd.Record("rwkv7_k", [k, a, ka], [y], [k, a, ka], Backward);
        return y;
    }

    /// <summary>Whether the last axis, or the last two, hold so many channels.</summary>
    private static bool WidthIs(Tensor k, int width) => k.Rank > 0 && (k.Size(-1) == width || (k.Rank == 4 && k.Size(2) * k.Size(3) == width));

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        if (dy[0] is not { } given) return [null, null, null];
        Tensor k = ctx.Saved(0)!, a = ctx.Saved(1)!, ka = ctx.Saved(2)!;
        Tensor dk = Tensor.EmptyLike(k), da = Tensor.EmptyLike(a);
        var splits = ColumnSplits.Of(k.Device, (int)(k.Count / ka.Count), (int)ka.Count);
        using var partial = Tensor.Empty(k.Device, DType.Float32, splits.Count, (int)ka.Count);
        Launch(k, a, ka, null, given.As(k.DType), dk, da, partial, splits);
        return [dk, da, Reductions.Run(partial, 1, splits.Count, ka.Count, Reduction.Sum, ka.DType, ka.Shape)];
    }

    private static void Launch(Tensor k, Tensor a, Tensor ka, Tensor? y, Tensor? dy, Tensor? dk, Tensor? da, Tensor? partial, ColumnSplits splits)
    {
        var width = (int)ka.Count;
        Kernel.Launch(k.Device, new(k, a, ka, y, dy, dk, da, partial, (uint)(k.Count / width), (uint)width, RowLayout.TypeCode(ka), (uint)splits.Chunk,
            RowLayout.Wide(width, k, a, ka, y, dy, dk, da)), splits.Grid(width), k.DType.Variant(), ColumnSplits.Workgroup);
    }
}
