using System.Text.Json;
using Fla.Models.Checkpoints;
using Fla.Models.Configs;
using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Models.Tests.Modeling;

/// <summary>Loading and saving of model folders.</summary>
public sealed class PretrainedTests(TestDevice device) : DeviceTests(device)
{
    private const string Embedding = "model.embeddings.weight";
    private const string Head = "lm_head.weight";

    [Test]
    public void SavedFilesAreTheLoadedOnesByteForByte([ValueSource(typeof(Families), nameof(Families.All))] string name)
    {
        using var folder = new TemporaryFolder();
        var source = Golden.Path("models/" + name);
        using var model = CausalLM.FromPretrained(source, Device);
        Assert.That(model.DType, Is.EqualTo(DType.Float16));
        model.SavePretrained(folder.Location);
        Assert.That(folder.FileNames, Is.EqualTo(new[] { "config.json", "model.safetensors" }));
        Assert.That(File.ReadAllBytes(folder.File("model.safetensors")), Is.EqualTo(File.ReadAllBytes(Path.Combine(source, "model.safetensors"))));
    }

    [Test]
    public void AnotherFloatTypeIsSavedAndLoaded([Values(DType.Float32, DType.BFloat16)] DType type)
    {
        using var folder = new TemporaryFolder();
        using var model = CausalLM.FromPretrained(Golden.Path("models/gla"), Device, type);
        model.SavePretrained(folder.Location);
        using var again = CausalLM.FromPretrained(folder.Location, Device);
        Assert.That(again.DType, Is.EqualTo(type));
        Assert.That(again.Config.Dtype, Is.EqualTo(type == DType.Float32 ? "float32" : "bfloat16"));
        foreach (var ((key, saved), (_, loaded)) in model.StateDict().Zip(again.StateDict())) Assert.That(loaded.ToBytes(), Is.EqualTo(saved.ToBytes()), key);
    }

    [Test]
    public void ShardsAreSavedAndLoaded()
    {
        using var folder = new TemporaryFolder();
        using var model = CausalLM.FromPretrained(Golden.Path("models/retnet"), Device);
        model.SavePretrained(folder.Location, 50_000);
        Assert.That(folder.FileNames, Has.Length.GreaterThan(4).And.Contains("model.safetensors.index.json"));
        using var again = CausalLM.FromPretrained(folder.Location, Device);
        foreach (var ((key, saved), (_, loaded)) in model.StateDict().Zip(again.StateDict())) Assert.That(loaded.ToBytes(), Is.EqualTo(saved.ToBytes()), key);
    }

    [Test]
    public void NamesAreThoseOfTheFile([ValueSource(typeof(Families), nameof(Families.All))] string name)
    {
        using var file = Checkpoint.Open(Golden.Path("models/" + name));
        using var model = CausalLM.FromPretrained(Golden.Path("models/" + name), Device);
        Assert.That(model.StateDict().Select(entry => entry.Key).Order(StringComparer.Ordinal), Is.EqualTo(file.Tensors.Keys.Order(StringComparer.Ordinal)));
    }

    [Test]
    public void ParametersComeInFlasOrder([ValueSource(typeof(Families), nameof(Families.All))] string name)
    {
        using var notes = JsonDocument.Parse(File.ReadAllBytes(Golden.Path($"models/{name}/notes.json")));
        using var model = CausalLM.FromPretrained(Golden.Path("models/" + name), Device);
        // With attention residuals the first layer has a query that it does not use, which has no gradient.
        Assert.That(model.NamedParameters().Select(p => p.Key).Where(key => !key.Contains("layers.0.attn_res", StringComparison.Ordinal)), Is.EqualTo(notes.RootElement.GetProperty("grad_norms").EnumerateObject().Select(p => p.Name)));
    }

    [Test]
    public void MissingAndExtraKeysAreNamed()
    {
        using var folder = Rewrite("gla", tensors =>
        {
            tensors.RemoveAll(t => t.Name == "model.layers.1.attn.k_proj.weight");
            tensors.Add(Tensor("model.layers.1.attn.surprise", [2]));
        });
        var error = Assert.Throws<CheckpointException>(() => CausalLM.FromPretrained(folder.Location, Device));
        Assert.That(error!.Message, Does.Contain("1 missing: model.layers.1.attn.k_proj.weight").And.Contain("1 not part of the model: model.layers.1.attn.surprise"));
        Assert.That(error.Key, Is.EqualTo("model.layers.1.attn.k_proj.weight"));
    }

    [Test]
    public void WrongShapesAreNamed([Values(Embedding, "model.layers.0.attn.g_proj.weight", Head)] string key)
    {
        using var folder = Rewrite("gla", tensors =>
        {
            tensors.RemoveAll(t => t.Name == key);
            tensors.Add(Tensor(key, [3, 5]));
        });
        Assert.That(() => CausalLM.FromPretrained(folder.Location, Device),
            Throws.TypeOf<CheckpointException>().With.Message.Contains("[3, 5]").And.Property("Key").EqualTo(key));
    }

    [Test]
    public void ACheckpointOfIntegersIsRefused()
    {
        using var folder = Rewrite("gla", tensors =>
        {
            tensors.RemoveAll(t => t.Name == "model.norm.weight");
            tensors.Add(TensorData.FromInt64("model.norm.weight", [64], new long[64]));
        });
        Assert.That(() => CausalLM.FromPretrained(folder.Location, Device), Throws.TypeOf<CheckpointException>().With.Message.Contains("I64"));
    }

    [Test]
    public void ATiedHeadIsTheEmbedding()
    {
        using var folder = Rewrite("gla", tensors => tensors.RemoveAll(t => t.Name == Head), config => config.TieWordEmbeddings = true);
        using var model = CausalLM.FromPretrained(folder.Location, Device);
        Assert.That(model.IsHeadTied);
        var state = model.StateDict().ToDictionary(entry => entry.Key, entry => entry.Value);
        Assert.That(state[Head], Is.SameAs(state[Embedding]));
        Assert.That(model.Parameters().Count(), Is.EqualTo(30));
        using var saved = new TemporaryFolder();
        model.SavePretrained(saved.Location);
        using var file = Checkpoint.Open(saved.Location);
        Assert.That(file.Contains(Head), Is.False);
        using var again = CausalLM.FromPretrained(saved.Location, Device);
        Assert.That(again.IsHeadTied);
    }

    [Test]
    public void AHeadInTheFileWinsOverTying()
    {
        using var folder = Rewrite("gla", _ => { }, config => config.TieWordEmbeddings = true);
        using var model = CausalLM.FromPretrained(folder.Location, Device);
        Assert.That(model.IsHeadTied, Is.False);
        using var file = Checkpoint.Open(folder.Location);
        Assert.That(model.StateDict().Single(entry => entry.Key == Head).Value.ToBytes(), Is.EqualTo(file.ReadBytes(Head)));
    }

    [Test]
    public void AMissingHeadIsAnErrorUnlessTied()
    {
        using var folder = Rewrite("gla", tensors => tensors.RemoveAll(t => t.Name == Head));
        Assert.That(() => CausalLM.FromPretrained(folder.Location, Device), Throws.TypeOf<CheckpointException>().With.Property("Key").EqualTo(Head));
    }

    [Test]
    public void AFileOfTheTrunkAloneLoadsWhenTheHeadIsTied()
    {
        using var folder = Rewrite("gla", tensors =>
        {
            tensors.RemoveAll(t => t.Name == Head);
            for (var i = 0; i < tensors.Count; i++) tensors[i] = Rename(tensors[i], tensors[i].Name["model.".Length..]);
        }, config => config.TieWordEmbeddings = true);
        using var model = CausalLM.FromPretrained(folder.Location, Device);
        using var original = Checkpoint.Open(Golden.Path("models/gla"));
        foreach (var (key, tensor) in model.NamedParameters()) Assert.That(tensor.ToBytes(), Is.EqualTo(original.ReadBytes(key)), key);
    }

    [Test]
    public void OneNameOfATiedFeatureMapIsEnough()
    {
        using var folder = Rewrite("linear_attn", tensors => tensors.RemoveAll(t => t.Name.Contains("feature_map_q", StringComparison.Ordinal)),
            config => ((LinearAttentionConfig)config).TieFeatureMapQk = true);
        using var model = CausalLM.FromPretrained(folder.Location, Device);
        var state = model.StateDict().ToDictionary(entry => entry.Key, entry => entry.Value);
        Assert.That(state["model.layers.0.attn.feature_map_q.layer1.weight"], Is.SameAs(state["model.layers.0.attn.feature_map_k.layer1.weight"]));
        using var file = Checkpoint.Open(folder.Location);
        Assert.That(state["model.layers.0.attn.feature_map_q.layer1.weight"].ToBytes(), Is.EqualTo(file.ReadBytes("model.layers.0.attn.feature_map_k.layer1.weight")));
    }

    [Test]
    public void MixturesOfAnOlderRwkv7LoadFromTheirMatrix([Values] bool isWhole)
    {
        using var folder = Rewrite("rwkv7", tensors =>
        {
            using var file = Checkpoint.Open(Golden.Path("models/rwkv7"));
            tensors.RemoveAll(t => t.Name.Contains(".attn.x_", StringComparison.Ordinal));
            for (var layer = 0; layer < 2; layer++)
            {
                var rows = "rwkvag".SelectMany(x => file.ReadSingle($"model.layers.{layer}.attn.x_{x}")).Take(isWhole ? 6 * 64 : 5 * 64).ToArray();
                tensors.Add(TensorData.FromSingle($"model.layers.{layer}.attn.x_x", [rows.Length / 64, 64], rows, StoredType.Float16));
            }
        });
        if (!isWhole)
        {
            Assert.That(() => CausalLM.FromPretrained(folder.Location, Device), Throws.TypeOf<CheckpointException>().With.Message.Contains("[5, 64]"));
            return;
        }
        using var model = CausalLM.FromPretrained(folder.Location, Device);
        using var original = Checkpoint.Open(Golden.Path("models/rwkv7"));
        foreach (var (key, tensor) in model.NamedParameters()) Assert.That(tensor.ToBytes(), Is.EqualTo(original.ReadBytes(key)), key);
    }

    [Test]
    public void AConfigurationThatTheFileContradictsIsRefusedBeforeMemoryIsAskedFor()
    {
        using var folder = Rewrite("gla", _ => { }, config => config.NumHiddenLayers = 60000);
        Assert.That(() => CausalLM.FromPretrained(folder.Location, Device), Throws.TypeOf<CheckpointException>().With.Message.Contains("layers.59999"));
    }

    private static TensorData Tensor(string name, long[] shape) => TensorData.FromSingle(name, shape, new float[shape.Aggregate(1L, (a, b) => a * b)], StoredType.Float16);

    private static TensorData Rename(TensorData tensor, string name)
    {
        using var bytes = new MemoryStream();
        tensor.WriteTo(bytes);
        return TensorData.FromBytes(name, tensor.Type, [.. tensor.Shape], bytes.ToArray());
    }

    private static TemporaryFolder Rewrite(string name, Action<List<TensorData>> change, Action<ModelConfig>? configure = null)
    {
        var folder = new TemporaryFolder();
        var source = Golden.Path("models/" + name);
        var config = ModelConfig.Load(source);
        configure?.Invoke(config);
        config.Save(folder.Location);
        using var file = Checkpoint.Open(source);
        List<TensorData> tensors = [.. file.Tensors.Values.Select(t => TensorData.FromBytes(t.Name, t.Type, [.. t.Shape], file.ReadBytes(t.Name)))];
        change(tensors);
        SafetensorsWriter.Write(folder.File("model.safetensors"), tensors);
        return folder;
    }
}
