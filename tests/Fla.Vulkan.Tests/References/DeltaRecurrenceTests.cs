using Fla.Testing;
using Fla.Testing.References;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.References;

[TestFixture]
public sealed class DeltaRecurrenceTests
{
    private const int H = 2, HV = 4, K = 3, V = 2, T = 6;

    [Test]
    public void AgreesWithFla_DeltaRule() => CompareWithGolden("delta_rule", x => new DeltaRecurrence
    {
        Q = x("q"), K = x("k"), V = x("v"), Beta = x("beta"), OutputGradient = x("do"),
    }.Run());

    [Test]
    public void AgreesWithFla_GatedDeltaRule() => CompareWithGolden("gdn", x => new DeltaRecurrence
    {
        Q = x("q"), K = x("k"), V = x("v"), Beta = x("beta"), G = x("g"), UseQkL2Norm = true, OutputGradient = x("do"),
    }.Run());

    [Test]
    public void AgreesWithFla_Kda() => CompareWithGolden("kda", x => new DeltaRecurrence
    {
        Q = x("q"), K = x("k"), V = x("v"), Beta = x("beta"), Gk = x("g"), UseQkL2Norm = true, OutputGradient = x("do"),
    }.Run(), ("gk", "g"));

    [Test]
    public void AgreesWithFla_Comba() => CompareWithGolden("comba", x => new DeltaRecurrence
    {
        Q = x("q"), K = x("k"), V = x("v"), P = x("p"), Beta = x("beta"), G = x("g"), ReadsUndecayed = true, UseQkL2Norm = true, OutputGradient = x("do"),
    }.Run());

    [Test]
    public void AgreesWithFla_Rwkv7() => CompareWithGolden("rwkv7", x => new DplrRecurrence
    {
        Q = x("r"), K = x("k"), V = x("v"), A = x("a"), B = x("b"), Gk = x("w"), Scale = 1, OutputGradient = x("do"),
    }.Run(), ("q", "r"), ("gk", "w"));

    [TestCase("beta")]
    [TestCase("betaV,g,h0,norm")]
    [TestCase("beta,g,gk,gv,h0,packed")]
    [TestCase("p,beta,g,h0,undecayed,norm")]
    [TestCase("b,w,gk,h0,packed")]
    [TestCase("beta,g,gate,sigmoid,packed")]
    [TestCase("beta,gk,gate,negative,h0")]
    [TestCase("gk,bounded")]
    [TestCase("beta,g,h0,product,packed")]
    public void Gradients_AreFiniteDifferences(string options)
    {
        string[] with = options.Split(',');
        bool Has(string option) => with.Contains(option);
        int n = Has("product") ? 2 : 1;
        Dictionary<string, RefTensor> inputs = new()
        {
            ["q"] = Inputs.Normal(1, 1, T, H, K), ["k"] = Inputs.UnitVectors(2, 1, T * n, H, K), ["v"] = Inputs.Normal(3, 1, T * n, HV, V),
        };
        void Add(string option, string name, RefTensor values)
        {
            if (Has(option)) inputs.Add(name, values);
        }

        Add("p", "p", Inputs.UnitVectors(4, 1, T, H, K));
        Add("b", "b", Inputs.Uniform(5, 0, 1, 1, T, H, K));
        Add("w", "w", Inputs.Uniform(6, 0, 1, 1, T, HV, V));
        Add("beta", "beta", Inputs.Uniform(7, 0, 1, 1, T * n, HV));
        Add("betaV", "beta", Inputs.Uniform(7, 0, 1, 1, T * n, HV, V));
        Add("g", "g", Inputs.LogSigmoidGate(8, [1, T, HV]));
        Add("gk", "gk", Inputs.LogSigmoidGate(9, [1, T, HV, K]));
        Add("gv", "gv", Inputs.LogSigmoidGate(10, [1, T, HV, V]));
        Add("gate", "A_log", Inputs.Normal(11, HV));
        Add("gate", "dt_bias", Has("gk") ? Inputs.Normal(12, HV, K) : Inputs.Normal(12, HV));
        Add("h0", "h0", Inputs.Normal(13, Has("packed") ? 3 : 1, HV, K, V));
        Dictionary<string, RefTensor> seeds = new() { ["o"] = Inputs.Normal(14, 1, T, HV, V), ["ht"] = Inputs.Normal(15, Has("packed") ? 3 : 1, HV, K, V) };
        FiniteDifferences.AssertGradients(inputs, seeds, () => new DeltaRecurrence
        {
            Q = inputs["q"], K = inputs["k"], V = inputs["v"], P = inputs.GetValueOrDefault("p"), EraseGate = inputs.GetValueOrDefault("b"),
            WriteGate = inputs.GetValueOrDefault("w"), Beta = inputs.GetValueOrDefault("beta"), G = inputs.GetValueOrDefault("g"),
            Gk = inputs.GetValueOrDefault("gk"), Gv = inputs.GetValueOrDefault("gv"), ALog = inputs.GetValueOrDefault("A_log"),
            DtBias = inputs.GetValueOrDefault("dt_bias"), InitialState = inputs.GetValueOrDefault("h0"), CuSeqlens = Has("packed") ? [0, 4, 4, 6] : null,
            ReadsUndecayed = Has("undecayed"), UseQkL2Norm = Has("norm"), UseGate = Has("gate") || Has("bounded"), LowerBound = Has("bounded") ? -3 : null,
            UseBetaSigmoid = Has("sigmoid"), AllowNegEigval = Has("negative"), Householders = n, Scale = 0.7,
            OutputGradient = seeds["o"], FinalStateGradient = seeds["ht"],
        }.Run());
    }

    [Test]
    public void Gradients_OfDplr_AreFiniteDifferences([Values] bool reverse, [Values] bool decays)
    {
        Dictionary<string, RefTensor> inputs = new()
        {
            ["q"] = Inputs.Normal(1, 1, T, H, K), ["k"] = Inputs.Normal(2, 1, T, H, K), ["v"] = Inputs.Normal(3, 1, T, H, V),
            ["a"] = Inputs.UnitVectors(4, 1, T, H, K), ["b"] = Inputs.UnitVectors(5, 1, T, H, K), ["h0"] = Inputs.Normal(6, 3, H, K, V),
        };
        if (decays) inputs.Add("gk", Inputs.LogSigmoidGate(7, [1, T, H, K]));
        Dictionary<string, RefTensor> seeds = new() { ["o"] = Inputs.Normal(8, 1, T, H, V), ["ht"] = Inputs.Normal(9, 3, H, K, V) };
        FiniteDifferences.AssertGradients(inputs, seeds, () => new DplrRecurrence
        {
            Q = inputs["q"], K = inputs["k"], V = inputs["v"], A = inputs["a"], B = inputs["b"], Gk = inputs.GetValueOrDefault("gk"),
            InitialState = inputs["h0"], Reverse = reverse, CuSeqlens = [0, 4, 4, 6], OutputGradient = seeds["o"], FinalStateGradient = seeds["ht"],
        }.Run());
    }

    // The delta rule is DPLR with a = -βk, b = k and values βv.
    [Test]
    public void DeltaRule_IsDplr()
    {
        RefTensor q = Inputs.Normal(1, 1, T, 1, K), k = Inputs.UnitVectors(2, 1, T, 1, K), v = Inputs.Normal(3, 1, T, 1, V), gk = Inputs.LogSigmoidGate(4, [1, T, 1, K]);
        var delta = new DeltaRecurrence { Q = q, K = k, V = v, Gk = gk, ReadsUndecayed = true }.Run();
        var dplr = new DplrRecurrence { Q = q, K = k, V = v, A = k.Map(x => -x), B = k, Gk = gk }.Run();
        Assert.That(dplr.O.Data, Is.EqualTo(delta.O.Data).Within(1e-12));
    }

    private static void CompareWithGolden(string op, Func<Func<string, RefTensor>, RefResult> reference, params (string Name, string InFile)[] renamed)
    {
        using GoldenFile golden = Golden.Open($"ops/chunk_{op}.safetensors");
        RefTensor Read(string name)
        {
            string key = name == "do" ? name : "in." + name;
            return new RefTensor(golden[key], golden.Shape(key));
        }

        RefResult result = reference(Read);
        ErrorRatio.AssertClose(result.O.ToFloats(), golden["o"], 1e-4, "o");
        ErrorRatio.AssertClose(result.FinalState.ToFloats(), golden["ht"], 1e-4, "ht");
        foreach (string name in result.GradientNames)
        {
            string inFile = renamed.Where(x => x.Name == name).Select(x => x.InFile).FirstOrDefault(name);
            ErrorRatio.AssertClose(result.Grad(name).ToFloats(), golden.Gradient(inFile), 1e-3, "gradient of " + name);
        }
    }
}
