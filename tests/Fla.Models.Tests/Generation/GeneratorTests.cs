using Fla.Layers;
using Fla.Models.Configs;
using Fla.Models.Generation;
using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Models.Tests.Generation;

public sealed class GeneratorTests(TestDevice device) : DeviceTests(device)
{
    private static readonly int[][] Prompts = [[5, 17, 3, 60, 2, 9, 33, 71, 8, 4, 90], [41], [12, 13, 14, 15, 16, 17, 18]];

    [Test]
    public void GreedyTextIsTheReferences([ValueSource(typeof(Families), nameof(Families.All))] string name, [Values] bool useGraph)
    {
        using var expected = Golden.Open($"models/{name}/expected.safetensors");
        using var model = CausalLM.FromPretrained(Golden.Path("models/" + name), Device, DType.Float32);
        var prompt = expected.Integers("input_ids")[..11];
        var text = new Generator(model).Generate([prompt], new() { MaxNewTokens = 24, StopTokens = [], UseGraph = useGraph });
        Assert.That(text[0], Is.EqualTo(expected.Integers("generated")));
    }

    [Test]
    public void ABatchOfUnequalPromptsIsEachPromptAlone([ValueSource(typeof(Families), nameof(Families.All))] string name, [Values] bool doSample)
    {
        using var model = CausalLM.FromPretrained(Golden.Path("models/" + name), Device, DType.Float32);
        var generator = new Generator(model);
        var options = new GenerationOptions { MaxNewTokens = 12, StopTokens = [], DoSample = doSample, TopK = 1 };
        var together = generator.Generate(Prompts, options);
        for (var i = 0; i < Prompts.Length; i++) Assert.That(together[i], Is.EqualTo(generator.Generate([Prompts[i]], options)[0]), $"prompt {i}");
    }

    [Test]
    public void OptionsOfEveryFamilyDecodeInBatches([Values] bool useGraph)
    {
        ModelConfig[] configs =
        [
            Small(new GlaConfig { UseShortConv = true, NumKvHeads = 1, ClampMin = -0.05 }),
            Small(new LinearAttentionConfig { FeatureMap = "elu", NormFeatureMap = true, NormQ = true, NormK = true, NumKvHeads = 1 }),
            Small(new RetNetConfig { NumKvHeads = 1, FeatureMap = "relu" }),
            Small(new DeltaNetConfig { QkActivation = "elu", QkNorm = "sum", UseGate = true, UseBeta = false }),
            Small(new GatedDeltaNetConfig { NumVHeads = 4, AllowNegEigval = true, UseGate = false }),
            Small(new GatedDeltaProductConfig { NumHouseholder = 3, UseForgetGate = true, UseOutputGate = false, UseShortConv = false }),
            Small(new CombaConfig { NumVHeads = 4, UseOutputGate = false }),
            Small(new KdaConfig { NumVHeads = 4, SafeGate = true, LowerBound = -5, AllowNegEigval = true }),
            Small(new DeltaNetConfig { Attn = [new() { Layers = [1], NumHeads = 2, QkvBias = true }] }),
            Small(new GatedDeltaNetConfig { Attn = [new() { Layers = [0], NumHeads = 4, NumKvHeads = 2, WindowSize = 3 }], AttnResBlockSize = 2 }),
            Small(new Rwkv7Config { NormFirst = false, NormBias = false, FuseNorm = false, ValueDim = [64, 64], HiddenAct = "gelu" }),
        ];
        foreach (var config in configs)
        {
            using var model = Create(config);
            var generator = new Generator(model);
            var options = new GenerationOptions { MaxNewTokens = 8, StopTokens = [], UseGraph = useGraph };
            var together = generator.Generate(Prompts, options);
            for (var i = 0; i < Prompts.Length; i++)
            {
                Assert.That(together[i], Is.EqualTo(generator.Generate([Prompts[i]], options)[0]), $"{config.ModelType}, prompt {i}");
                Assert.That(together[i], Is.EqualTo(WithoutCache(model, Prompts[i], 8)), $"{config.ModelType}, prompt {i}, from the whole text each time");
            }
        }
    }

    /// <summary>Softmax attention keeps the keys of all tokens, or of a window's: where they outgrow their place, the step is captured again.</summary>
    [TestCase(null)]
    [TestCase(5)]
    [TestCase(int.MaxValue)]
    public void KeysOutgrowTheirPlace(int? window)
    {
        using var model = Create(Small(new GlaConfig { Attn = [new() { Layers = [1], NumHeads = 2, WindowSize = window }] }));
        var text = new Generator(model).Generate([Prompts[1]], new() { MaxNewTokens = 75, StopTokens = [] })[0];
        Assert.That(text, Is.EqualTo(WithoutCache(model, Prompts[1], 75)));
    }

    [Test]
    public void SampledTextRepeatsWithItsSeed([Values] bool useGraph)
    {
        using var model = CausalLM.FromPretrained(Golden.Path("models/gla"), Device, DType.Float32);
        var options = new GenerationOptions { MaxNewTokens = 16, DoSample = true, Temperature = 1.5, TopP = 0.95, RepetitionPenalty = 1.1, Seed = 5, StopTokens = [] };
        int[][] Run(ulong seed, bool graph) => new Generator(model).Generate(Prompts, options with { Seed = seed, UseGraph = graph });
        Assert.That(Run(5, useGraph), Is.EqualTo(Run(5, true)));
        Assert.That(Run(5, useGraph), Is.Not.EqualTo(Run(6, useGraph)));
    }

    [Test]
    public void TextStopsBeforeAStopToken()
    {
        using var model = CausalLM.FromPretrained(Golden.Path("models/gla"), Device, DType.Float32);
        var generator = new Generator(model);
        var whole = generator.Generate(Prompts, new() { MaxNewTokens = 12, StopTokens = [] });
        var stop = whole[0][5];
        var cut = generator.Generate(Prompts, new() { MaxNewTokens = 12, StopTokens = [stop] });
        for (var i = 0; i < Prompts.Length; i++) Assert.That(cut[i], Is.EqualTo(whole[i].TakeWhile(token => token != stop)), $"prompt {i}");
        model.Config.EosTokenId = stop;
        Assert.That(generator.Generate(Prompts, new() { MaxNewTokens = 12 }), Is.EqualTo(cut), "the configuration's eos_token_id is the default");
    }

    [Test]
    public void TokensArriveOneByOneAndCanBeStopped()
    {
        using var model = CausalLM.FromPretrained(Golden.Path("models/gla"), Device, DType.Float32);
        var arrived = new List<int>[] { [], [], [] };
        var texts = new Generator(model).Generate(Prompts, new() { MaxNewTokens = 6, StopTokens = [] }, (row, token) => arrived[row].Add(token));
        Assert.That(arrived, Is.EqualTo(texts));

        using var source = new CancellationTokenSource();
        var few = new Generator(model).Generate([Prompts[0]], new() { MaxNewTokens = 6, StopTokens = [] }, (_, _) => source.Cancel(), source.Token);
        Assert.That(few[0], Is.EqualTo(texts[0][..1]));
    }

    [Test]
    public void WhatCannotBeGeneratedIsRefused()
    {
        using var model = CausalLM.FromPretrained(Golden.Path("models/gla"), Device, DType.Float32);
        var generator = new Generator(model);
        Assert.That(() => generator.Generate([]), Throws.TypeOf<GenerationException>());
        Assert.That(() => generator.Generate([[1], []]), Throws.TypeOf<GenerationException>().With.Message.Contains("prompt 1"));
        Assert.That(() => generator.Generate([[1, 96]]), Throws.TypeOf<TokenIdException>().With.Property("Id").EqualTo(96));
        GenerationOptions[] wrong =
        [
            new() { MaxNewTokens = -1 }, new() { Temperature = 0 }, new() { Temperature = double.NaN }, new() { TopK = 0 }, new() { TopP = 0 }, new() { TopP = 1.1 },
            new() { RepetitionPenalty = 0 },
        ];
        foreach (var options in wrong) Assert.That(() => generator.Generate([[1]], options), Throws.TypeOf<GenerationException>(), options.ToString());
        Assert.That(generator.Generate([[1], [2, 3]], new() { MaxNewTokens = 0 }), Is.EqualTo(new[] { Array.Empty<int>(), [] }));
    }

    private static ModelConfig Small(ModelConfig config)
    {
        var widths = (config as Rwkv7Config)?.ValueDim;
        config.SetSizes(hiddenSize: 32, layers: 2, heads: 2);
        if (config is Rwkv7Config rwkv7) rwkv7.ValueDim = widths;
        (config.VocabSize, config.IntermediateSize, config.InitializerRange) = (96, 48, 0.3);
        return config;
    }

    /// <summary>A model none of whose weights is zero.</summary>
    private CausalLM Create(ModelConfig config)
    {
        var model = CausalLM.Create(Device, config, 3);
        var noise = new Initializer(4, 0.1);
        foreach (var (name, parameter) in model.NamedParameters())
        {
            var start = parameter.ToSingle();
            noise.Normal(parameter, name);
            parameter.Write([.. parameter.ToSingle().Zip(start, (x, y) => x + y)]);
        }
        return model;
    }

    private static int[] WithoutCache(CausalLM model, int[] prompt, int count)
    {
        using var noGrad = Autograd.NoGrad();
        var text = prompt.ToList();
        for (var i = 0; i < count; i++)
        {
            using var output = model.Forward(model.Tokens(text.ToArray()), new() { LogitsToKeep = 1 });
            var logits = output.Logits!.ToSingle();
            text.Add(Array.IndexOf(logits, logits.Max()));
        }
        return [.. text.Skip(prompt.Length)];
    }
}
