using Fla.Testing;
using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class AddRecurrenceTests
{
    private const int B = 2, T = 5, H = 2, K = 3, V = 4;

    [Test]
    public void AgreesWithFla_Gla() =>
        CompareWithGolden("gla", "gk", (q, k, v, g, d) => Reference.Gla(q, k, v, g, doutput: d));

    [Test]
    public void AgreesWithFla_SimpleGla() =>
        CompareWithGolden("simple_gla", "g", (q, k, v, g, d) => Reference.SimpleGla(q, k, v, g, doutput: d));

    [Test]
    public void AgreesWithFla_Retention() =>
        CompareWithGolden("retention", null, (q, k, v, _, d) => Reference.Retention(q, k, v, doutput: d));

    // The final state of head 1 is NaN in the file: the kernel it came from decays padded rows.
    [Test]
    public void AgreesWithFla_LightningAttn() =>
        CompareWithGolden(
            "lightning_attn", null, (q, k, v, _, d) => Reference.LightningAttn(q, k, v, 0, 12, doutput: d),
            (name, batch, head) => name == "ht" && head == 1);

    // The denominator of batch 1, head 1 passes near zero, where fp32 has no digits left.
    [Test]
    public void AgreesWithFla_LinearAttn() =>
        CompareWithGolden(
            "linear_attn", null, (q, k, v, _, d) => Reference.LinearAttn(q, k, v, doutput: d),
            (name, batch, head) => batch == 1 && head == 1);

    [Test]
    public void Gradients_AreFiniteDifferences([Values("none", "g", "gamma", "gk", "gv", "gk+gv")] string gates, [Values] bool reverse)
    {
        Dictionary<string, RefTensor> inputs = new()
        {
            ["q"] = Inputs.Normal(1, 1, 6, H, K), ["k"] = Inputs.Normal(2, 1, 6, H, K), ["v"] = Inputs.Normal(3, 1, 6, H, V),
            ["h0"] = Inputs.Normal(4, 3, H, K, V),
        };
        Dictionary<string, RefTensor> seeds = new() { ["o"] = Inputs.Normal(5, 1, 6, H, V), ["ht"] = Inputs.Normal(6, 3, H, K, V) };
        foreach (string gate in gates.Split('+').Where(x => x.StartsWith('g') && x != "gamma"))
        {
            int[] shape = gate == "g" ? [1, 6, H] : [1, 6, H, gate == "gk" ? K : V];
            inputs.Add(gate, Inputs.LogSigmoidGate(7, shape));
        }

        FiniteDifferences.AssertGradients(inputs, seeds, () => new AddRecurrence
        {
            Q = inputs["q"], K = inputs["k"], V = inputs["v"], G = inputs.GetValueOrDefault("g"), Gk = inputs.GetValueOrDefault("gk"),
            Gv = inputs.GetValueOrDefault("gv"), Gamma = gates == "gamma" ? [-0.1, -0.7] : null, InitialState = inputs["h0"],
            Reverse = reverse, CuSeqlens = [0, 4, 4, 6], Scale = 0.3, OutputGradient = seeds["o"], FinalStateGradient = seeds["ht"],
        }.Run());
    }

    [Test]
    public void Gradients_OfNormalizedLinearAttn_AreFiniteDifferences([Values] bool reverse)
    {
        // Positive keys and queries keep the denominator away from zero.
        Dictionary<string, RefTensor> inputs = new()
        {
            ["q"] = Inputs.Uniform(1, 0.1, 1, B, T, H, K), ["k"] = Inputs.Uniform(2, 0.1, 1, B, T, H, K),
            ["v"] = Inputs.Normal(3, B, T, H, V),
            ["h0"] = Inputs.Normal(4, B, H, K, V), ["z0"] = Inputs.Uniform(5, 0.1, 1, B, 1, H, K),
        };
        Dictionary<string, RefTensor> seeds = new()
        {
            ["o"] = Inputs.Normal(6, B, T, H, V), ["ht"] = Inputs.Normal(7, B, H, K, V), ["zt"] = Inputs.Normal(8, B, 1, H, K),
        };
        FiniteDifferences.AssertGradients(inputs, seeds, () => Reference.LinearAttn(
            inputs["q"], inputs["k"], inputs["v"], 0.7, inputs["h0"], inputs["z0"], true, reverse, null,
            seeds["o"], seeds["ht"], seeds["zt"]));
    }

    // The same op as a sum over all earlier tokens: o_t = scale Σ_s Σ_i q_ti k_si v_s e^(decays after s, up to t).
    [Test]
    public void Output_IsTheWeightedSumOverEarlierTokens()
    {
        RefTensor q = Inputs.Normal(1, B, T, H, K), k = Inputs.Normal(2, B, T, H, K), v = Inputs.Normal(3, B, T, H, V);
        RefTensor gk = Inputs.LogSigmoidGate(4, [B, T, H, K]), gv = Inputs.LogSigmoidGate(5, [B, T, H, V]);
        double[] o = Reference.Gla(q, k, v, gk, gv, 0.5).O.Data;
        int At(int b, int t, int h, int i, int width) => (((((b * T) + t) * H) + h) * width) + i;
        for (int b = 0; b < B; b++)
        {
            for (int h = 0; h < H; h++)
            {
                for (int t = 0; t < T; t++)
                {
                    for (int c = 0; c < V; c++)
                    {
                        double sum = 0;
                        for (int s = 0; s <= t; s++)
                        {
                            for (int i = 0; i < K; i++)
                            {
                                double decay = 0;
                                for (int r = s + 1; r <= t; r++)
                                {
                                    decay += gk.Data[At(b, r, h, i, K)] + gv.Data[At(b, r, h, c, V)];
                                }

                                double product = q.Data[At(b, t, h, i, K)] * k.Data[At(b, s, h, i, K)] * v.Data[At(b, s, h, c, V)];
                                sum += 0.5 * product * Math.Exp(decay);
                            }
                        }

                        Assert.That(o[At(b, t, h, c, V)], Is.EqualTo(sum).Within(1e-12));
                    }
                }
            }
        }
    }

    [Test]
    public void PackedSequences_AreSeparateRuns(
        [ValueSource(typeof(Inputs), nameof(Inputs.PackedBoundaries))] int[] cuSeqlens, [Values] bool reverse)
    {
        int length = cuSeqlens[^1], count = cuSeqlens.Length - 1;
        RefTensor q = Inputs.Normal(1, 1, length, H, K), k = Inputs.Normal(2, 1, length, H, K), v = Inputs.Normal(3, 1, length, H, V);
        RefTensor g = Inputs.LogSigmoidGate(4, [1, length, H]), h0 = Inputs.Normal(5, count, H, K, V);
        RefResult packed = Reference.SimpleGla(q, k, v, g, initialState: h0, reverse: reverse, cuSeqlens: cuSeqlens);
        int stateSize = H * K * V;
        for (int n = 0; n < count; n++)
        {
            int start = cuSeqlens[n], end = cuSeqlens[n + 1];
            RefResult alone = Reference.SimpleGla(
                Tokens(q, start, end), Tokens(k, start, end), Tokens(v, start, end), Tokens(g, start, end),
                initialState: new RefTensor(h0.Data[(n * stateSize)..((n + 1) * stateSize)], 1, H, K, V), reverse: reverse);
            Assert.That(packed.O.Data[(start * H * V)..(end * H * V)], Is.EqualTo(alone.O.Data));
            Assert.That(packed.FinalState.Data[(n * stateSize)..((n + 1) * stateSize)], Is.EqualTo(alone.FinalState.Data));
        }
    }

    [Test]
    public void StateOfThePast_ContinuesTheSequence()
    {
        RefTensor q = Inputs.Uniform(1, 0.1, 1, 1, T, H, K), k = Inputs.Uniform(2, 0.1, 1, 1, T, H, K), v = Inputs.Normal(3, 1, T, H, V);
        RefResult whole = Reference.LinearAttn(q, k, v);
        RefResult past = Reference.LinearAttn(Tokens(q, 0, 2), Tokens(k, 0, 2), Tokens(v, 0, 2));
        RefResult rest = Reference.LinearAttn(
            Tokens(q, 2, T), Tokens(k, 2, T), Tokens(v, 2, T), initialState: past.FinalState, initialNormalizer: past.Output("zt"));
        Assert.That(whole.O.Data, Is.EqualTo(past.O.Data.Concat(rest.O.Data)));
        Assert.That(whole.FinalState.Data, Is.EqualTo(rest.FinalState.Data));
        Assert.That(whole.Output("zt").Data, Is.EqualTo(rest.Output("zt").Data));
    }

    [Test]
    public void WithoutOutputGradients_ThereAreNoGradients()
    {
        RefTensor q = Inputs.Normal(1, B, T, H, K);
        Assert.That(Reference.Retention(q, q, q).GradientNames, Is.Empty);
    }

    [Test]
    public void WrongShapes_AreErrors()
    {
        RefTensor q = Inputs.Normal(1, B, T, H, K), v = Inputs.Normal(2, B, T, H, V), one = Inputs.Normal(3, 1, T, H, K);
        Assert.That(() => Reference.Gla(q, v, v, null), Throws.ArgumentException);
        Assert.That(() => Reference.SimpleGla(q, q, v, q), Throws.ArgumentException);
        Assert.That(() => Reference.SimpleGla(q, q, v, gamma: [0]), Throws.ArgumentException);
        Assert.That(() => Reference.Retention(q, q, v, initialState: Inputs.Normal(4, B, H, V, K)), Throws.ArgumentException);
        Assert.That(() => Reference.Retention(q, q, v, cuSeqlens: [0, T]), Throws.ArgumentException);
        Assert.That(() => Reference.Retention(one, one, one, cuSeqlens: [0, 4, 3, T]), Throws.ArgumentException);
        Assert.That(() => Reference.Retention(one, one, one, cuSeqlens: [0, T - 1]), Throws.ArgumentException);
        Assert.That(() => Reference.LinearAttn(q, q, v, initialNormalizer: q, normalize: false), Throws.ArgumentException);
    }

    private static RefTensor Tokens(RefTensor x, int start, int end)
    {
        int width = x.Length / x.Shape[1];
        return new RefTensor(x.Data[(start * width)..(end * width)], [1, end - start, .. x.Shape[2..]]);
    }

    private static void CompareWithGolden(
        string op, string? gate, Func<RefTensor, RefTensor, RefTensor, RefTensor?, RefTensor, RefResult> run,
        Func<string, int, int, bool>? leaveOut = null)
    {
        using GoldenFile file = Golden.Open($"ops/chunk_{op}.safetensors");
        RefTensor Read(string name) => new(file[name], file.Shape(name));
        RefResult result = run(Read("in.q"), Read("in.k"), Read("in.v"), gate is null ? null : Read("in.g"), Read("do"));
        string[] names = [.. file.Names.Where(x => x is "o" or "ht"), .. file.GradientNames.Select(x => "grad." + x)];
        Assert.That(names, Has.Length.GreaterThanOrEqualTo(4));
        Assert.Multiple(() =>
        {
            foreach (string name in names)
            {
                RefTensor reference = result[name == "grad.g" ? "grad." + gate : name];
                float[] ours = Without(reference.ToFloats(), name), theirs = Without(file[name], name);
                ErrorRatio.AssertClose(ours, theirs, 1e-5, name);
            }
        });

        // All but the heads left out. Heads are axis 1 of a state [B,H,K,V], else axis 2 of [B,T,H,...].
        float[] Without(float[] values, string name)
        {
            int[] shape = file.Shape(name);
            int axis = name == "ht" ? 1 : 2, perBatch = values.Length / shape[0];
            int perHead = shape[(axis + 1)..].Aggregate(1, (a, b) => a * b);
            return [.. values.Where((_, i) => leaveOut is null || !leaveOut(name, i / perBatch, i / perHead % shape[axis]))];
        }
    }
}
