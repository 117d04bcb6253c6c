using System.Text;
using System.Text.Json.Nodes;
using CsCheck;
using Fla.Models.Configs;
using Fla.Testing;
using NUnit.Framework;

namespace Fla.Models.Tests.Configs;

public sealed class ModelConfigTests
{
    [TestCase("gla", typeof(GlaConfig))]
    [TestCase("gla_hybrid", typeof(GlaConfig))]
    [TestCase("gla_attnres", typeof(GlaConfig))]
    [TestCase("retnet", typeof(RetNetConfig))]
    [TestCase("linear_attn", typeof(LinearAttentionConfig))]
    [TestCase("based", typeof(LinearAttentionConfig))]
    [TestCase("delta_net", typeof(DeltaNetConfig))]
    [TestCase("gated_deltanet", typeof(GatedDeltaNetConfig))]
    [TestCase("gated_deltaproduct", typeof(GatedDeltaProductConfig))]
    [TestCase("comba", typeof(CombaConfig))]
    [TestCase("kda", typeof(KdaConfig))]
    [TestCase("rwkv7", typeof(Rwkv7Config))]
    public void AFileOfThePythonPackageRoundTripsByteForByte(string model, Type type)
    {
        using var folder = new TemporaryFolder();
        var config = ModelConfig.Load(Golden.Path("models/" + model));
        Assert.That(config, Is.TypeOf(type));
        Assert.That(config.UnknownFields, Is.EqualTo(new[] { "transformers_version" }));
        Assert.That(config.Dtype, Is.EqualTo("float16"));
        config.Save(folder.Location);
        Assert.That(File.ReadAllText(folder.File("config.json")), Is.EqualTo(File.ReadAllText(Golden.Path($"models/{model}/config.json")).TrimEnd() + "\n"));
    }

    [Test]
    public void AbsentFieldsHaveFlasDefaults()
    {
        var gla = Parse<GlaConfig>("""{"model_type":"gla"}""");
        var retnet = Parse<RetNetConfig>("""{"model_type":"retnet"}""");
        var linear = Parse<LinearAttentionConfig>("""{"model_type":"linear_attn"}""");
        Assert.Multiple(() =>
        {
            Assert.That((gla.HiddenSize, gla.NumHiddenLayers, gla.VocabSize, gla.NumHeads), Is.EqualTo((2048, 24, 32000, 4)));
            Assert.That((gla.ExpandK, gla.ExpandV, gla.HeadKeyDim, gla.HeadValueDim), Is.EqualTo((0.5, 1.0, 256, 512)));
            Assert.That((gla.PadTokenId, gla.BosTokenId, gla.EosTokenId), Is.EqualTo(((int?)null, (int?)1, (int?)2)));
            Assert.That((gla.ClampMin, gla.UseOutputGate, gla.UseShortConv, gla.ConvSize), Is.EqualTo(((double?)null, true, false, 4)));
            Assert.That((gla.UseGk, gla.UseGv, gla.FeatureMap, gla.AttnMode), Is.EqualTo((true, false, (string?)null, "chunk")));
            Assert.That((gla.NormEps, gla.InitializerRange, gla.HiddenAct), Is.EqualTo((1e-6, 0.02, "swish")));
            Assert.That((gla.FuseNorm, gla.FuseSwiglu, gla.FuseCrossEntropy, gla.FuseLinearCrossEntropy), Is.EqualTo((true, true, true, false)));
            Assert.That((gla.UseL2Warp, gla.TieWordEmbeddings, gla.ElementwiseAffine, gla.UseCache), Is.EqualTo((false, false, true, true)));
            Assert.That(gla.Architectures, Is.EqualTo(new[] { "GLAForCausalLM" }));
            Assert.That((retnet.ExpandK, retnet.ExpandV, retnet.NumHeads, retnet.HiddenRatio), Is.EqualTo((1.0, 2.0, 8, 2.0)));
            Assert.That((linear.AttnMode, linear.FeatureMap, linear.NumHeads), Is.EqualTo(("fused_chunk", "elementwise_product", 4)));
            Assert.That((linear.NormQ, linear.NormK, linear.NormFeatureMap, linear.TieFeatureMapQk), Is.EqualTo((false, false, false, false)));
        });
    }

    [Test]
    public void AbsentFieldsOfTheDeltaFamiliesHaveFlasDefaults()
    {
        var deltaNet = Parse<DeltaNetConfig>("""{"model_type":"delta_net"}""");
        var gdn = Parse<GatedDeltaNetConfig>("""{"model_type":"gated_deltanet"}""");
        var product = Parse<GatedDeltaProductConfig>("""{"model_type":"gated_deltaproduct"}""");
        var comba = Parse<CombaConfig>("""{"model_type":"comba"}""");
        var kda = Parse<KdaConfig>("""{"model_type":"kda"}""");
        var rwkv7 = Parse<Rwkv7Config>("""{"model_type":"rwkv7"}""");
        Assert.Multiple(() =>
        {
            Assert.That((deltaNet.NumHeads, deltaNet.ExpandK, deltaNet.ExpandV, deltaNet.UseGate, deltaNet.UseShortConv), Is.EqualTo((16, 1.0, 1.0, false, true)));
            Assert.That((deltaNet.QkNorm, deltaNet.QkActivation, deltaNet.UseBeta, deltaNet.AllowNegEigval), Is.EqualTo(("l2", "silu", true, false)));
            Assert.That((gdn.NumHiddenLayers, gdn.NumHeads, gdn.NumVHeads, gdn.HeadDim, gdn.ExpandV, gdn.UseGate), Is.EqualTo((21, 6, (int?)null, 256, 2.0, true)));
            Assert.That((product.NumHouseholder, product.UseForgetGate, product.AllowNegEigval, product.UseOutputGate), Is.EqualTo((1, false, false, true)));
            Assert.That((comba.NumHiddenLayers, comba.CorrectionFactor, comba.UseInnerDecay, comba.UseOutputCorrection), Is.EqualTo((21, 1.0, true, true)));
            Assert.That((kda.NumHiddenLayers, kda.NumHeads, kda.HeadDim, kda.ExpandV, kda.SafeGate, kda.LowerBound), Is.EqualTo((24, 16, 128, 1.0, false, (double?)null)));
            Assert.That((rwkv7.HeadDim, rwkv7.NumHeads, rwkv7.DecayLowRankDim, rwkv7.GateLowRankDim), Is.EqualTo(((int?)64, (int?)null, (int?)64, (int?)128)));
            Assert.That((rwkv7.ALowRankDim, rwkv7.VLowRankDim, rwkv7.HiddenAct, rwkv7.NormEps), Is.EqualTo(((int?)64, (int?)16, "sqrelu", 1e-5)));
            Assert.That((rwkv7.NormFirst, rwkv7.NormBias, rwkv7.UseL2Warp, rwkv7.MlpWidth), Is.EqualTo((true, true, true, 8192)));
        });
    }

    [Test]
    public void FieldsThatAFamilyLacksAreNotItsOwn()
    {
        var kda = Parse<KdaConfig>("""{"model_type":"kda","elementwise_affine":false,"fuse_linear_cross_entropy":true}""");
        Assert.That(kda.UnknownFields, Is.EquivalentTo(new[] { "elementwise_affine", "fuse_linear_cross_entropy" }));
        Assert.That((kda.ElementwiseAffine, kda.FuseLinearCrossEntropy), Is.EqualTo((true, false)));
        Assert.That(JsonNode.Parse(kda.ToJson())!["elementwise_affine"]!.GetValue<bool>(), Is.False, "kept as it was");
        Assert.That(JsonNode.Parse(new KdaConfig().ToJson())!.AsObject().ContainsKey("elementwise_affine"), Is.False);
    }

    [TestCase("128", new[] { 128, 128 })]
    [TestCase("[64,192]", new[] { 64, 192 })]
    [TestCase("null", null)]
    public void ValueWidthsAreOneOrOneForEachLayer(string json, int[]? expected)
    {
        var config = Parse<Rwkv7Config>($$"""{"model_type":"rwkv7","hidden_size":64,"num_hidden_layers":2,"value_dim":{{json}}}""");
        Assert.That(config.ValueDim, Is.EqualTo(expected));
        Assert.That(JsonNode.Parse(config.ToJson())!["value_dim"]!.ToJsonString(), Is.EqualTo($"[{string.Join(",", expected ?? [64, 64])}]"));
    }

    [Test]
    public void SizesOfAFreshModelReachItsHeads()
    {
        foreach (var family in new[] { "gla", "delta_net", "gated_deltanet", "gated_deltaproduct", "comba", "kda", "rwkv7" })
        {
            var config = Parse<ModelConfig>($$"""{"model_type":"{{family}}"}""");
            config.SetSizes(96, 3, 2);
            Assert.That((config.HiddenSize, config.NumHiddenLayers), Is.EqualTo((96, 3)));
            config.Validate();
            var heads = config switch { MultiHeadConfig c => c.HeadKeyDim, HeadDimConfig c => c.HeadDim, _ => ((Rwkv7Config)config).HeadDim };
            Assert.That(heads, Is.EqualTo(family == "gla" ? 24 : 48), family);
        }
    }

    [TestCase(2048, 4.0, null, 5632)]
    [TestCase(2048, 2.0, null, 2816)]
    [TestCase(2304, 4.0, null, 6144)]
    [TestCase(2048, null, null, 5632)]
    [TestCase(64, 2.0, null, 256)]
    [TestCase(64, 2.0, 100, 100)]
    public void MlpWidthFollowsTheRule(int hidden, double? ratio, int? intermediate, int width)
        => Assert.That(new GlaConfig { HiddenSize = hidden, HiddenRatio = ratio, IntermediateSize = intermediate }.MlpWidth, Is.EqualTo(width));

    [Test]
    public void UnknownFieldsAreKeptWithTheirNumbers()
    {
        var config = Parse<GlaConfig>("""{"model_type":"gla","x":{"b":1.0,"a":[1e-06,null,"é"]},"limit":[0.0,Infinity],"neg":-Infinity,"transformers_version":"4.1"}""");
        Assert.That(config.UnknownFields, Is.EquivalentTo(new[] { "x", "limit", "neg", "transformers_version" }));
        var text = Encoding.UTF8.GetString(config.ToJson());
        var written = JsonNode.Parse(text)!;
        Assert.Multiple(() =>
        {
            Assert.That(written["x"]!.ToJsonString(), Is.EqualTo("""{"a":[1e-06,null,"\u00E9"],"b":1.0}"""));
            Assert.That(written["limit"]!.ToJsonString(), Is.EqualTo("""[0.0,{"__float__":"Infinity"}]"""));
            Assert.That(written["neg"]!.ToJsonString(), Is.EqualTo("""{"__float__":"-Infinity"}"""));
            Assert.That(text, Does.Contain("\"é\""));
        });
    }

    [TestCase("""-Infinity""")]
    [TestCase("""{"__float__":"-Infinity"}""")]
    public void InfinitiesAreReadInBothSpellings(string value)
        => Assert.That(Parse<GlaConfig>($$"""{"model_type":"gla","clamp_min":{{value}},"note":"Infinity \" NaN"}""").ClampMin, Is.EqualTo(double.NegativeInfinity));

    [Test]
    public void TorchDtypeKeepsItsName()
    {
        var older = Parse<GlaConfig>("""{"model_type":"gla","torch_dtype":"bfloat16"}""");
        Assert.That(older.Dtype, Is.EqualTo("bfloat16"));
        var written = JsonNode.Parse(older.ToJson())!.AsObject();
        Assert.That(written["torch_dtype"]!.GetValue<string>(), Is.EqualTo("bfloat16"));
        Assert.That(written.ContainsKey("dtype"), Is.False);
        var both = Parse<GlaConfig>("""{"model_type":"gla","torch_dtype":"bfloat16","dtype":"float32"}""");
        Assert.That(both.Dtype, Is.EqualTo("float32"));
    }

    [TestCase("""{}""", "model_type")]
    [TestCase("""{"model_type":3}""", "model_type")]
    [TestCase("""{"model_type":"gpt2"}""", "model_type")]
    [TestCase("""{"model_type":"gla","hidden_size":"64"}""", "hidden_size")]
    [TestCase("""{"model_type":"gla","hidden_size":64.5}""", "hidden_size")]
    [TestCase("""{"model_type":"gla","hidden_size":true}""", "hidden_size")]
    [TestCase("""{"model_type":"gla","hidden_size":null}""", "hidden_size")]
    [TestCase("""{"model_type":"gla","hidden_size":-64}""", "hidden_size")]
    [TestCase("""{"model_type":"gla","hidden_size":0}""", "hidden_size")]
    [TestCase("""{"model_type":"gla","hidden_size":99999999999}""", "hidden_size")]
    [TestCase("""{"model_type":"gla","hidden_size":2147483647}""", "hidden_size")]
    [TestCase("""{"model_type":"gla","hidden_size":66,"num_heads":4}""", "num_heads")]
    [TestCase("""{"model_type":"gla","num_heads":0}""", "num_heads")]
    [TestCase("""{"model_type":"gla","num_kv_heads":3}""", "num_kv_heads")]
    [TestCase("""{"model_type":"gla","expand_k":0}""", "expand_k")]
    [TestCase("""{"model_type":"gla","expand_k":NaN}""", "expand_k")]
    [TestCase("""{"model_type":"gla","expand_v":Infinity}""", "expand_v")]
    [TestCase("""{"model_type":"gla","expand_v":"1"}""", "expand_v")]
    [TestCase("""{"model_type":"gla","num_hidden_layers":0}""", "num_hidden_layers")]
    [TestCase("""{"model_type":"gla","vocab_size":-1}""", "vocab_size")]
    [TestCase("""{"model_type":"gla","pad_token_id":32000}""", "pad_token_id")]
    [TestCase("""{"model_type":"gla","hidden_act":"gelu"}""", "hidden_act")]
    [TestCase("""{"model_type":"gla","attn_mode":"parallel"}""", "attn_mode")]
    [TestCase("""{"model_type":"gla","attn_mode":null}""", "attn_mode")]
    [TestCase("""{"model_type":"gla","feature_map":"hedgehog"}""", "feature_map")]
    [TestCase("""{"model_type":"linear_attn","feature_map":"magic"}""", "feature_map")]
    [TestCase("""{"model_type":"linear_attn","feature_map":null}""", "feature_map")]
    [TestCase("""{"model_type":"gla","use_short_conv":1}""", "use_short_conv")]
    [TestCase("""{"model_type":"gla","conv_size":0}""", "conv_size")]
    [TestCase("""{"model_type":"gla","clamp_min":1}""", "clamp_min")]
    [TestCase("""{"model_type":"gla","norm_eps":-1e-6}""", "norm_eps")]
    [TestCase("""{"model_type":"delta_net","qk_norm":"l1"}""", "qk_norm")]
    [TestCase("""{"model_type":"delta_net","qk_activation":"gelu"}""", "qk_activation")]
    [TestCase("""{"model_type":"delta_net","attn_mode":"fused_chunk"}""", "attn_mode")]
    [TestCase("""{"model_type":"gated_deltanet","num_v_heads":8}""", "num_v_heads")]
    [TestCase("""{"model_type":"gated_deltanet","head_dim":3,"expand_v":0.5}""", "expand_v")]
    [TestCase("""{"model_type":"gated_deltanet","head_dim":4194304}""", "num_heads")]
    [TestCase("""{"model_type":"gated_deltaproduct","num_householder":0}""", "num_householder")]
    [TestCase("""{"model_type":"kda","safe_gate":true}""", "lower_bound")]
    [TestCase("""{"model_type":"kda","safe_gate":true,"lower_bound":-6}""", "lower_bound")]
    [TestCase("""{"model_type":"kda","lower_bound":0}""", "lower_bound")]
    [TestCase("""{"model_type":"rwkv7","head_dim":null}""", "head_dim")]
    [TestCase("""{"model_type":"rwkv7","head_dim":60}""", "head_dim")]
    [TestCase("""{"model_type":"rwkv7","head_dim":null,"num_heads":60}""", "num_heads")]
    [TestCase("""{"model_type":"rwkv7","value_dim":100}""", "value_dim")]
    [TestCase("""{"model_type":"rwkv7","value_dim":[2048]}""", "value_dim")]
    [TestCase("""{"model_type":"rwkv7","value_dim":"wide"}""", "value_dim")]
    [TestCase("""{"model_type":"rwkv7","hidden_act":"powlu"}""", "hidden_act")]
    [TestCase("""{"model_type":"gla","dtype":"int8"}""", "dtype")]
    [TestCase("""{"model_type":"gla","architectures":"GLA"}""", "architectures")]
    [TestCase("""{"model_type":"gla","fuse_linear_cross_entropy":true}""", "fuse_linear_cross_entropy")]
    [TestCase("""{"model_type":"gla","attnres_block_size":3}""", "attnres_block_size")]
    [TestCase("""{"model_type":"gla","attnres_block_size":0}""", "attnres_block_size")]
    [TestCase("""{"model_type":"gla","attn":5}""", "attn")]
    [TestCase("""{"model_type":"gla","attn":{"num_heads":2}}""", "attn.layers")]
    [TestCase("""{"model_type":"gla","attn":{"layers":[1]}}""", "attn.num_heads")]
    [TestCase("""{"model_type":"gla","attn":{"layers":1,"num_heads":2}}""", "attn.layers")]
    [TestCase("""{"model_type":"gla","attn":{"layers":[true],"num_heads":2}}""", "attn.layers")]
    [TestCase("""{"model_type":"gla","attn":{"layers":[24],"num_heads":2}}""", "attn.layers")]
    [TestCase("""{"model_type":"gla","attn":{"layers":[-1],"num_heads":2}}""", "attn.layers")]
    [TestCase("""{"model_type":"gla","attn":{"layers":[1,1],"num_heads":2}}""", "attn.layers")]
    [TestCase("""{"model_type":"gla","attn":[{"layers":[1],"num_heads":2},{"layers":[1],"num_heads":2}]}""", "attn.layers")]
    [TestCase("""{"model_type":"gla","attn":{"layers":[1],"num_heads":3}}""", "attn.num_heads")]
    [TestCase("""{"model_type":"gla","attn":{"layers":[1],"num_heads":false}}""", "attn.num_heads")]
    [TestCase("""{"model_type":"gla","attn":{"layers":[1],"num_heads":4,"num_kv_heads":3}}""", "attn.num_kv_heads")]
    [TestCase("""{"model_type":"gla","attn":{"layers":[1],"num_heads":4,"window_size":0}}""", "attn.window_size")]
    [TestCase("""{"model_type":"gla","attn":{"layers":[1],"num_heads":4,"rope_theta":0}}""", "attn.rope_theta")]
    public void NamesTheOffendingField(string json, string field)
    {
        var error = Assert.Throws<ConfigException>(() => ModelConfig.Parse(Encoding.UTF8.GetBytes(json), "some.json"))!;
        Assert.That(error.Field, Is.EqualTo(field));
        Assert.That(error.Message, Does.StartWith($"some.json: {field}: "));
    }

    [TestCase("[]")]
    [TestCase("null")]
    [TestCase("")]
    [TestCase("{")]
    [TestCase("""{"model_type":"gla","model_type":"gla"}""")]
    [TestCase("""{"model_type":"gla","x":{"a":1,"a":2}}""")]
    [TestCase("""{"model_type":"gla","x":"\ud800"}""")]
    [TestCase("""{"model_type":"gla","x":Infinit}""")]
    public void RefusesMalformedJson(string json)
        => Assert.Throws<ConfigException>(() => ModelConfig.Parse(Encoding.UTF8.GetBytes(json)));

    [Test]
    public void RefusesDeepNestingAndInvalidUtf8AndMissingFiles()
    {
        using var folder = new TemporaryFolder();
        var deep = $$"""{"model_type":"gla","x":{{new string('[', 10_000)}}{{new string(']', 10_000)}}}""";
        Assert.Multiple(() =>
        {
            Assert.Throws<ConfigException>(() => ModelConfig.Parse(Encoding.UTF8.GetBytes(deep)));
            Assert.Throws<ConfigException>(() => ModelConfig.Parse(Encoding.Latin1.GetBytes("""{"model_type":"glä"}""")));
            Assert.That(() => ModelConfig.Load(folder.Location), Throws.TypeOf<ConfigException>().With.Message.Contains("config.json"));
        });
    }

    [Test]
    public void HybridAttentionIsFoundByLayer()
    {
        var single = (GlaConfig)ModelConfig.Load(Golden.Path("models/gla_hybrid"));
        Assert.That(single.AttentionAt(0), Is.Null);
        var attention = single.AttentionAt(1)!;
        Assert.That((attention.NumHeads, attention.NumKvHeads, attention.WindowSize, attention.RopeTheta, attention.QkvBias), Is.EqualTo((2, (int?)1, (int?)33, 10000.0, false)));

        var list = Parse<GlaConfig>("""{"model_type":"gla","attn":[{"layers":[3,1],"num_heads":4,"odd":[1]},{"layers":[0],"num_heads":8,"num_kv_heads":2,"qkv_bias":true}]}""");
        Assert.That(list.AttentionAt(1)!.NumHeads, Is.EqualTo(4));
        Assert.That(list.AttentionAt(0)!.QkvBias);
        Assert.That(list.AttentionAt(2), Is.Null);
        var written = JsonNode.Parse(list.ToJson())!["attn"]!.AsArray();
        Assert.That(written[0]!.ToJsonString(), Is.EqualTo("""{"layers":[3,1],"num_heads":4,"num_kv_heads":4,"odd":[1],"qkv_bias":false,"rope_theta":10000.0,"window_size":null}"""));
    }

    [Test]
    public void WhatIsWrittenReadsBackTheSame()
    {
        var heads = Gen.Int[0, 3].Select(power => 1 << power);
        Gen.Select(heads, Gen.Int[1, 16], Gen.Int[0, 2].Select(power => 0.5 * (1 << power)), Gen.Double[1e-9, 0.5], Gen.Int[1, 40], Gen.Bool).Sample(
            (numHeads, scale, expand, eps, layers, flag) =>
            {
                var config = new GlaConfig
                {
                    NumHeads = numHeads,
                    HiddenSize = numHeads * scale * 2,
                    ExpandK = expand,
                    NormEps = eps,
                    NumHiddenLayers = layers,
                    UseShortConv = flag,
                    ClampMin = flag ? -eps : null,
                    Attn = flag ? [new AttnSpec { Layers = [layers - 1], NumHeads = numHeads, RopeTheta = eps }] : [],
                };
                var json = config.ToJson();
                var copy = (GlaConfig)ModelConfig.Parse(json);
                return copy.ToJson().AsSpan().SequenceEqual(json)
                    && (copy.HiddenSize, copy.NormEps, copy.ClampMin, copy.UseShortConv) == (config.HiddenSize, config.NormEps, config.ClampMin, flag)
                    && (copy.AttentionAt(layers - 1) is not null) == flag;
            },
            iter: 500,
            seed: "0N0XIzNsQ0O2",
            threads: 1);
    }

    [Test]
    public void ValidateFindsWhatCodeSetWrong()
        => Assert.That(() => new GlaConfig { HiddenSize = -1 }.Validate(), Throws.TypeOf<ConfigException>().With.Property("Field").EqualTo("hidden_size"));

    private static T Parse<T>(string json)
        where T : ModelConfig => (T)ModelConfig.Parse(Encoding.UTF8.GetBytes(json));
}
