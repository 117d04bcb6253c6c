namespace Fla.Vulkan.Ops;

/// <summary>(o + (Σ r ⊙ k ⊙ rk) v) ⊙ g for every head (shaders/rwkv/gate_correction.comp).</summary>
internal static class GateCorrection
{
    private static readonly Kernel<Args> Kernel = new("rwkv/gate_correction");
    private static readonly Kernel<BackwardArgs> BackwardKernel = new("rwkv/gate_correction_backward");

    private readonly record struct Args(In O, In R, In K, In Rk, In V, In G, Out Y, uint Rows, uint Heads, uint K_, uint V_, uint RkType, uint Lanes, uint Wide);

    private readonly record struct BackwardArgs(In O, In R, In K, In Rk, In V, In G, In DY, Out DO, Out DR, Out DK, Out DRk, Out DV, Out DG,
        uint Rows, uint Heads, uint K_, uint V_, uint RkType, uint Lanes, uint Wide);

    public static Tensor Run(Tensor o, Tensor r, Tensor k, Tensor rk, Tensor v, Tensor g)
    {
        Require.SameDevice(o, r, k, rk, v, g);
        Require.Float(o, "o");
        Require.Float(rk, "rk");
        Require.Rank(r, 4, "r");
        Require.Rank(v, 4, "v");
        foreach (var (x, name) in new[] { (r, "r"), (k, "k"), (v, "v"), (g, "g") }) Require.Type(x, o.DType, name);
        int b = r.Size(0), t = r.Size(1), h = r.Size(2);
        Require.Shape(k, "k", r.Shape);
        Require.Shape(rk, "rk", h, r.Size(3));
        Require.Shape(v, "v", b, t, h, v.Size(3));
        Require.Shape(o, "o", b, t, h * v.Size(3));
        Require.Shape(g, "g", o.Shape);
        var y = Tensor.EmptyLike(o);
        var (rows, lanes) = Layout(r, v);
        Kernel.Launch(o.Device, new(o, r, k, rk, v, g, y, rows, (uint)h, (uint)r.Size(3), (uint)v.Size(3), RowLayout.TypeCode(rk), (uint)lanes,
            Wide(r, v, o, k, rk, g, y)), RowLayout.Rows(o.Device, rows, lanes), o.DType.Variant(), RowLayout.RowWorkgroup(o.Device));
        if (Autograd.IsRecording(o, r, k, rk, v, g)) Autograd.Record("rwkv7_gate_output_correction", [o, r, k, rk, v, g], [y], [o, r, k, rk, v, g], Backward);
        return y;
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        if (dy[0] is not { } gradient) return new Tensor?[6];
        Tensor o = ctx.Saved(0)!, r = ctx.Saved(1)!, k = ctx.Saved(2)!, rk = ctx.Saved(3)!, v = ctx.Saved(4)!, g = ctx.Saved(5)!;
        var given = gradient.As(o.DType);
        Tensor dO = Tensor.EmptyLike(o), dr = Tensor.EmptyLike(r), dk = Tensor.EmptyLike(k), dv = Tensor.EmptyLike(v), dg = Tensor.EmptyLike(g);
        using var terms = Tensor.EmptyLike(r, DType.Float32);
        var (rows, lanes) = Layout(r, v);
        BackwardKernel.Launch(o.Device, new(o, r, k, rk, v, g, given, dO, dr, dk, terms, dv, dg, rows, (uint)r.Size(2), (uint)r.Size(3), (uint)v.Size(3),
            RowLayout.TypeCode(rk), (uint)lanes, Wide(r, v, o, k, rk, g, given, dO, dr, dk, dv, dg)), RowLayout.Rows(o.Device, rows, lanes), o.DType.Variant(), RowLayout.RowWorkgroup(o.Device));
        var drk = ctx.Needs(3) ? Reductions.Run(terms, 1, r.Count / rk.Count, rk.Count, Reduction.Sum, rk.DType, rk.Shape) : null;
        return [dO, dr, dk, drk, dv, dg];
    }

    private static (uint Rows, int Lanes) Layout(Tensor r, Tensor v) =>
        (RowLayout.Index(RowLayout.RowCount(r), r), RowLayout.Lanes(r.Device, Math.Max(r.Size(3), v.Size(3))));

    private static uint Wide(Tensor r, Tensor v, params ReadOnlySpan<Tensor?> others) => RowLayout.Wide(r.Size(3), r, v) & RowLayout.Wide(v.Size(3), others);
}
