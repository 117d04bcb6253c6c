using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Cli.Benchmarks;

/// <summary>
/// Causal softmax attention over [B,T,H,D]. Checked in double precision on the first and last head of the last batch row: o and the gradient of q on some tokens, the
/// gradients of k and v on the last ones, which few queries see.
/// </summary>
internal sealed record AttentionOp() : BenchOp("parallel_attn")
{
    private const int Sampled = 8;

    /// <inheritdoc/>
    public override BenchCase Make(ComputeDevice device, DType type, BenchShape s)
    {
        int[] sizes = [s.B, s.T, s.H, s.D];
        var inputs = Enumerable.Range(1, 3).Select(i => RandomTensors.Normal(device, type, (ulong)i, 0, sizes)).ToArray();
        foreach (var input in inputs) input.RequiresGrad = true;
        var gradient = RandomTensors.Normal(device, type, 99, 0, sizes);
        // Half of two products of T x T, then of five.
        double bytes = gradient.ByteCount, product = (double)s.T * s.D * s.Tokens * s.H;
        BenchCase made = null!;
        made = new(inputs, () => AttnOps.ParallelAttn(inputs[0], inputs[1], inputs[2]), gradient, () => Error(made, s), new(4 * bytes, 2 * product), new(12 * bytes, 7 * product));
        return made;
    }

    private static double Error(BenchCase made, BenchShape s)
    {
        var o = made.RunBoth();
        double worst = 0;
        foreach (var head in new[] { 0, s.H - 1 })
        {
            float[] Cut(Tensor x)
            {
                using var off = Autograd.NoGrad();
                using var row = x.Narrow(s.B - 1, 1);
                using var cut = Layouts.Slice(row, 2, head, 1);
                return cut.ToSingle();
            }
            var x = new AttentionHead(s.T, s.D, Cut(made.Inputs[0]), Cut(made.Inputs[1]), Cut(made.Inputs[2]), Cut(made.Gradient!));
            float[] y = Cut(o), dq = Cut(made.Inputs[0].Grad!), dk = Cut(made.Inputs[1].Grad!), dv = Cut(made.Inputs[2].Grad!);
            var count = Math.Min(Sampled, s.T);
            void Compare(float[] all, int token, double[] expected) =>
                worst = Ratios.Worse(worst, Ratios.Of(all.AsSpan(token * s.D, s.D), Array.ConvertAll(expected, v => (float)v)));
            for (var i = 0; i < count; i++)
            {
                // Never the first query: it sees one key, whose weight is 1 whatever it is.
                var query = (int)((long)(i + 1) * (s.T - 1) / count);
                Compare(y, query, x.Output(query));
                Compare(dq, query, x.QueryGradient(query));
                var (ofKey, ofValue) = x.KeyGradients(s.T - 1 - i);
                Compare(dk, s.T - 1 - i, ofKey);
                Compare(dv, s.T - 1 - i, ofValue);
            }
        }
        made.ClearGradients();
        return worst;
    }
}

/// <summary>Causal softmax attention of one head in double precision, token by token.</summary>
/// <param name="T">Tokens.</param>
/// <param name="D">Channels.</param>
/// <param name="Q">Queries [T,D].</param>
/// <param name="K">Keys [T,D].</param>
/// <param name="V">Values [T,D].</param>
/// <param name="DO">Gradient of the output [T,D].</param>
internal sealed record AttentionHead(int T, int D, float[] Q, float[] K, float[] V, float[] DO)
{
    private readonly double _scale = 1 / Math.Sqrt(D);

    /// <summary>Σ_j p_j v_j.</summary>
    public double[] Output(int query)
    {
        var weights = Weights(query);
        return Sum(query, j => weights[j], V);
    }

    /// <summary>scale · Σ_j p_j (do·v_j − do·o) k_j.</summary>
    public double[] QueryGradient(int query)
    {
        var slopes = Slopes(query, Weights(query));
        return Sum(query, j => _scale * slopes[j], K);
    }

    /// <summary>scale · Σ_i p_ij (do_i·v_j − do_i·o_i) q_i and Σ_i p_ij do_i over the queries i that see key j.</summary>
    public (double[] Key, double[] Value) KeyGradients(int key)
    {
        double[] dk = new double[D], dv = new double[D];
        for (var i = key; i < T; i++)
        {
            var weights = Weights(i);
            double weight = weights[key], slope = _scale * Slopes(i, weights)[key];
            for (var c = 0; c < D; c++)
            {
                dk[c] += slope * Q[i * D + c];
                dv[c] += weight * DO[i * D + c];
            }
        }
        return (dk, dv);
    }

    private double[] Weights(int query)
    {
        var logits = new double[query + 1];
        for (var j = 0; j <= query; j++) logits[j] = _scale * Dot(Q, query, K, j);
        var most = logits.Max();
        var weights = Array.ConvertAll(logits, l => Math.Exp(l - most));
        var sum = weights.Sum();
        return Array.ConvertAll(weights, w => w / sum);
    }

    private double[] Slopes(int query, double[] weights)
    {
        var given = new double[query + 1];
        for (var j = 0; j <= query; j++) given[j] = Dot(DO, query, V, j);
        var mean = weights.Zip(given, (w, g) => w * g).Sum();
        return weights.Zip(given, (w, g) => w * (g - mean)).ToArray();
    }

    private double[] Sum(int query, Func<int, double> weight, float[] rows)
    {
        var sum = new double[D];
        for (var j = 0; j <= query; j++)
        {
            var w = weight(j);
            for (var c = 0; c < D; c++) sum[c] += w * rows[j * D + c];
        }
        return sum;
    }

    private double Dot(float[] a, int i, float[] b, int j)
    {
        double sum = 0;
        for (var c = 0; c < D; c++) sum += (double)a[i * D + c] * b[j * D + c];
        return sum;
    }
}
