namespace Fla.Testing.References;

/// <content>What RWKV-7 does around its recurrence.</content>
public static partial class Reference
{
    /// <summary>x + δ ⊙ mixes[i] over rows [..., D]. Results "o0", "o1", …; gradients of "x", "delta", "m0", "m1", ….</summary>
    public static RefResult Addcmul(RefTensor x, RefTensor delta, RefTensor[] mixes, RefTensor?[] doutputs)
    {
        delta.Require(nameof(delta), x.Shape);
        var run = new Differentiation(doutputs);
        VarTensor a = run.Input("x", x), d = run.Input("delta", delta);
        VarTensor[] m = [.. mixes.Select((mix, i) => run.Input($"m{i}", mix))];
        int width = x.Shape[^1];
        for (int i = 0; i < mixes.Length; i++)
        {
            run.Output($"o{i}", doutputs[i], x.Shape);
            for (int j = 0; j < x.Length; j++)
            {
                run.Set($"o{i}", j, a.Data[j] + (d.Data[j] * m[i].Data[j % width]));
            }
        }

        return run.Result();
    }

    /// <summary>k + k (a − 1) ka, ka over the last channels. Result "o"; gradients of "k", "a", "ka".</summary>
    public static RefResult KeyUpdate(RefTensor k, RefTensor a, RefTensor ka, RefTensor? doutput = null)
    {
        a.Require(nameof(a), k.Shape);
        var run = new Differentiation(doutput);
        VarTensor key = run.Input("k", k), rate = run.Input("a", a), factor = run.Input("ka", ka);
        run.Output("o", doutput, k.Shape);
        for (int i = 0; i < k.Length; i++)
        {
            run.Set("o", i, key.Data[i] + (key.Data[i] * (rate.Data[i] - 1) * factor.Data[i % ka.Length]));
        }

        return run.Result();
    }

    /// <summary>(o + (Σ r k rk) v) g per token and head: o, g [B,T,H·V], r, k [B,T,H,K], rk [H,K], v [B,T,H,V]. Result "o"; gradients of "o", "r", "k", "rk", "v", "g".</summary>
    public static RefResult GateOutputCorrection(RefTensor o, RefTensor r, RefTensor k, RefTensor rk, RefTensor v, RefTensor g, RefTensor? doutput = null)
    {
        var run = new Differentiation(doutput);
        VarTensor input = run.Input("o", o), query = run.Input("r", r), key = run.Input("k", k), weight = run.Input("rk", rk), value = run.Input("v", v), gate = run.Input("g", g);
        run.Output("o", doutput, o.Shape);
        int heads = rk.Shape[0], width = v.Shape[^1];
        for (int row = 0; row < v.Length / width; row++)
        {
            Var[] products = [.. query.Row(row).ToArray().Zip(key.Row(row).ToArray(), (x, y) => x * y)];
            Var bonus = Var.Dot(products, weight.Row(row % heads));
            for (int i = row * width; i < (row + 1) * width; i++)
            {
                run.Set("o", i, (input.Data[i] + (bonus * value.Data[i])) * gate.Data[i]);
            }
        }

        return run.Result();
    }

    /// <summary>
    /// z = x + (shift(x) − x) xk with xPrev [B,D] before the first token, relu(z Wk)² Wv. Result "o"; gradients of "x", "xPrev", "xk", "kWeight" [D,I], "vWeight" [I,D].
    /// </summary>
    public static RefResult ChannelMixing(RefTensor x, RefTensor xPrev, RefTensor xk, RefTensor kWeight, RefTensor vWeight, RefTensor? doutput = null)
    {
        var run = new Differentiation(doutput);
        VarTensor input = run.Input("x", x), before = run.Input("xPrev", xPrev), mix = run.Input("xk", xk), wk = run.Input("kWeight", kWeight), wv = run.Input("vWeight", vWeight);
        int length = x.Shape[1], width = x.Shape[2], inner = kWeight.Shape[1];
        run.Output("o", doutput, x.Shape);
        for (int row = 0; row < x.Length / width; row++)
        {
            ReadOnlySpan<Var> last = row % length == 0 ? before.Row(row / length) : input.Row(row - 1);
            var z = new Var[width];
            for (int i = 0; i < width; i++)
            {
                z[i] = input.Row(row)[i] + ((last[i] - input.Row(row)[i]) * mix.Data[i]);
            }

            Var[] hidden = [.. Enumerable.Range(0, inner).Select(j => Var.Relu(Var.Dot(z, Column(wk, j)))).Select(y => y * y)];
            for (int i = 0; i < width; i++)
            {
                run.Set("o", (row * width) + i, Var.Dot(hidden, Column(wv, i)));
            }
        }

        return run.Result();

        static Var[] Column(VarTensor matrix, int column) => [.. Enumerable.Range(0, matrix.Shape[0]).Select(i => matrix.Row(i)[column])];
    }
}
