namespace Fla.Vulkan.Ops;

/// <summary>FLASH: softmax attention by tiles that never leave the chip, and its gradients (shaders/attn/attention.comp).</summary>
internal static class SoftmaxAttention
{
    private const int Tile = 32;
    private const uint Workgroup = 256;

    private static readonly Kernel<Args> Kernel = new("attn/attention");
    private static readonly Kernel<AppendArgs> AppendKernel = new("attn/append");
    private static readonly Kernel<AdvanceArgs> AdvanceKernel = new("attn/advance");

    private readonly record struct Args(In A, In B, In A2, In B2, In C, Out Y, InOut Lse, In Delta, In Packed, In Offsets,
        uint T, uint HQ, uint H, uint K, uint V, uint Width, uint Window, uint Capacity, float Scale);

    private readonly record struct AppendArgs(In X, InOut Ring, In Packed, In Lengths, uint T, uint Width, uint Capacity);

    private readonly record struct AdvanceArgs(InOut Lengths, In Packed, uint N, uint T);

    private enum Pass : uint
    {
        Softmax,
        Weights,
        Gradients,
    }

    /// <summary>Sizes of a call.</summary>
    /// <param name="B">Batch.</param>
    /// <param name="T">Queries of a batch row.</param>
    /// <param name="HQ">Query heads.</param>
    /// <param name="H">Key heads.</param>
    /// <param name="K">Key channels.</param>
    /// <param name="V">Value channels.</param>
    /// <param name="Window">Keys that a query sees; 0 for all.</param>
    /// <param name="Packed">Boundaries of packed sequences.</param>
    internal sealed record Shape(int B, int T, int HQ, int H, int K, int V, int Window, CuSeqlens? Packed)
    {
        public int N => Packed?.Count ?? B;

        public int Tokens => B * T;
    }

    private sealed record Saved(Shape Shape, float Scale);

    /// <summary>What holds earlier tokens.</summary>
    /// <param name="Keys">Rings [N,capacity,H,K].</param>
    /// <param name="Values">Rings [N,capacity,H,V].</param>
    /// <param name="Lengths">Tokens before this call, i32 [N].</param>
    internal readonly record struct Rings(Tensor Keys, Tensor Values, Tensor Lengths);

    /// <summary>
    /// Attends over the call's own keys, and over those that rings hold of earlier tokens: the call's are put into them first. Records the gradients of q, k and v.
    /// </summary>
    /// <returns>o [B,T,HQ,V].</returns>
    public static Tensor Run(Shape shape, Tensor q, Tensor k, Tensor v, float scale, Rings? earlier = null)
    {
        using var scope = new TensorScope();
        if (earlier is { } rings)
        {
            Append(k, rings.Keys, rings.Lengths, shape.Packed);
            Append(v, rings.Values, rings.Lengths, shape.Packed);
        }
        var o = Tensor.Empty(q.Device, q.DType, shape.B, shape.T, shape.HQ, shape.V);
        var isRecording = Autograd.IsRecording(q, k, v);
        var lse = isRecording ? Tensor.Empty(q.Device, DType.Float32, shape.B, shape.T, shape.HQ) : null;
        var (keys, values) = earlier is { } r ? (r.Keys, r.Values) : (k, v);
        Launch(shape, Pass.Softmax, false, new(q, keys, null, null, values, o, shape.V), lse, null, scale, earlier);
        // The lengths are about to be counted up.
        if (isRecording) Autograd.Record("parallel_attn", [q, k, v], [o], [q, k, v, o, lse, earlier?.Keys, earlier?.Values, earlier?.Lengths.Clone()], Backward, new Saved(shape, scale));
        return scope.Keep(o);
    }

    /// <summary>Puts the last tokens of every sequence into its ring.</summary>
    public static void Append(Tensor x, Tensor ring, Tensor lengths, CuSeqlens? packed)
    {
        int tokens = x.Size(1), width = x.Size(2) * x.Size(3);
        AppendKernel.Launch(x.Device, new(x, ring, packed?.Starts, lengths, (uint)tokens, (uint)width, (uint)ring.Size(1)),
            Grid.Over((long)tokens * width, (int)Workgroup) with { Z = (uint)ring.Size(0) }, x.DType.Variant(), Workgroup);
        ring.Storage.Version++;
    }

    /// <summary>Counts the tokens of every sequence as there.</summary>
    public static void Advance(Tensor lengths, int tokens, CuSeqlens? packed)
    {
        AdvanceKernel.Launch(lengths.Device, new(lengths, packed?.Starts, (uint)lengths.Count, (uint)tokens), Grid.Over(lengths.Count, 32), null, 32);
        lengths.Storage.Version++;
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        if (dy[0] is not { } given) return [null, null, null];
        Tensor q = ctx.Saved(0)!, k = ctx.Saved(1)!, v = ctx.Saved(2)!, o = ctx.Saved(3)!, lse = ctx.Saved(4)!;
        var (shape, scale) = ctx.State<Saved>();
        Rings? earlier = ctx.Saved(5) is { } ringKeys ? new(ringKeys, ctx.Saved(6)!, ctx.Saved(7)!) : null;
        var (keys, values) = earlier is { } r ? (r.Keys, r.Values) : (k, v);
        var dO = given.As(q.DType);
        using var exact = o.To(DType.Float32);
        using var delta = RowDot.Of(dO, exact, shape.Tokens * shape.HQ, shape.V);
        Tensor dq = Tensor.EmptyLike(q), dk = Tensor.EmptyLike(k), dv = Tensor.EmptyLike(v);
        Launch(shape, Pass.Gradients, false, new(q, keys, dO, values, keys, dq, shape.K), lse, delta, scale, earlier);
        // Only the call's own keys have gradients, and only its own queries see them.
        Launch(shape, Pass.Gradients, true, new(k, q, v, dO, q, dk, shape.K), lse, delta, scale);
        Launch(shape, Pass.Weights, true, new(k, q, null, null, dO, dv, shape.V), lse, null, scale);
        return [dq, dk, dv];
    }

    /// <summary>Operands by their names in the shader; C and Y have <paramref name="Width"/> channels.</summary>
    private readonly record struct Operands(Tensor A, Tensor B, Tensor? A2, Tensor? B2, Tensor C, Tensor Y, int Width);

    private static void Launch(Shape shape, Pass pass, bool hasKeyRows, in Operands of, Tensor? lse, Tensor? delta, float scale, Rings? earlier = null)
    {
        Kernel.Launch(of.A.Device,
            new(of.A, of.B, of.A2, of.B2, of.C, of.Y, lse, delta, shape.Packed?.Starts, earlier?.Lengths, (uint)shape.T, (uint)shape.HQ, (uint)shape.H, (uint)shape.K, (uint)shape.V,
                (uint)of.Width, (uint)shape.Window, (uint)(earlier?.Keys.Size(1) ?? 0), scale),
            new((uint)((shape.T + Tile - 1) / Tile), (uint)(hasKeyRows ? shape.H : shape.HQ), (uint)shape.N), of.A.DType.Variant(),
            Workgroup, (uint)((of.Width + Tile - 1) / Tile), (uint)pass, hasKeyRows ? 1u : 0);
    }
}
