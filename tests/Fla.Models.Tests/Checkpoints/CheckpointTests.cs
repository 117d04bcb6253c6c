using Fla.Models.Checkpoints;
using Fla.Testing;
using NUnit.Framework;

namespace Fla.Models.Tests.Checkpoints;

public sealed class CheckpointTests
{
    private static readonly TensorData[] Three =
    [
        TensorData.FromBytes("c", StoredType.UInt8, [4], new byte[] { 1, 2, 3, 4 }),
        TensorData.FromBytes("a", StoredType.UInt8, [3], new byte[] { 5, 6, 7 }),
        TensorData.FromBytes("b", StoredType.UInt8, [2], new byte[] { 8, 9 }),
    ];

    [TestCase("gla")]
    [TestCase("retnet")]
    [TestCase("linear_attn")]
    [TestCase("based")]
    [TestCase("gla_hybrid")]
    [TestCase("gla_attnres")]
    public void AModelFolderRoundTripsByteForByteWholeAndInShards(string model)
    {
        using var source = Checkpoint.Open(Golden.Path("models/" + model));
        TensorData[] tensors =
        [
            .. source.Tensors.Values.Select(t => TensorData.FromBytes(t.Name, t.Type, t.Shape.ToArray(), source.ReadBytes(t.Name))),
        ];
        using var folder = new TemporaryFolder();
        Checkpoint.Save(folder.Location, tensors);
        Assert.That(folder.FileNames, Is.EqualTo(new[] { "model.safetensors" }));
        Assert.That(File.ReadAllBytes(folder.File("model.safetensors")), Is.EqualTo(File.ReadAllBytes(source.Files[0].Location)));

        Checkpoint.Save(folder.Location, tensors, maxShardBytes: 100_000);
        using var sharded = Checkpoint.Open(folder.Location);
        Assert.That(sharded.Files, Has.Count.GreaterThan(2));
        Assert.That(sharded.Tensors.Keys, Is.EquivalentTo(source.Tensors.Keys));
        foreach (var tensor in source.Tensors.Values)
        {
            Assert.That(sharded.Info(tensor.Name).Shape, Is.EqualTo(tensor.Shape));
            Assert.That(sharded.ReadBytes(tensor.Name), Is.EqualTo(source.ReadBytes(tensor.Name)), tensor.Name);
        }
    }

    [Test]
    public void ShardsHaveTheNamesAndTheIndexOfTransformers()
    {
        using var folder = new TemporaryFolder();
        Checkpoint.Save(folder.Location, Three, maxShardBytes: 5);
        Assert.That(
            folder.FileNames,
            Is.EqualTo(new[] { "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json" }));
        Assert.That(
            File.ReadAllText(folder.File("model.safetensors.index.json")).ReplaceLineEndings("\n"),
            Is.EqualTo("""
                {
                  "metadata": {
                    "total_size": 9
                  },
                  "weight_map": {
                    "a": "model-00002-of-00002.safetensors",
                    "b": "model-00002-of-00002.safetensors",
                    "c": "model-00001-of-00002.safetensors"
                  }
                }
                """.ReplaceLineEndings("\n")));
        using var shard = SafetensorsFile.Open(folder.File("model-00001-of-00002.safetensors"));
        Assert.That(shard.Metadata["format"], Is.EqualTo("pt"));
    }

    [Test]
    public void ASaveRemovesTheFilesOfTheSaveBefore()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("notes.txt"), "");
        Checkpoint.Save(folder.Location, Three, maxShardBytes: 1);
        Assert.That(folder.FileNames, Has.Length.EqualTo(5));
        Checkpoint.Save(folder.Location, Three, maxShardBytes: 5);
        Assert.That(folder.FileNames, Has.Length.EqualTo(4));
        Checkpoint.Save(folder.Location, Three);
        Assert.That(folder.FileNames, Is.EqualTo(new[] { "model.safetensors", "notes.txt" }));
        Checkpoint.Save(folder.Location, Three, maxShardBytes: 5);
        Assert.That(folder.FileNames, Has.Length.EqualTo(4).And.No.Member("model.safetensors"));
    }

    [Test]
    public void AFailedSaveKeepsTheOldCheckpoint()
    {
        using var folder = new TemporaryFolder();
        Checkpoint.Save(folder.Location, Three, maxShardBytes: 5);
        var names = folder.FileNames;
        var bad = new TensorData("d", StoredType.UInt8, [2], _ => { });
        Assert.Throws<CheckpointException>(() => Checkpoint.Save(folder.Location, [.. Three, bad], maxShardBytes: 5));
        Assert.That(folder.FileNames, Is.EqualTo(names));
        using var checkpoint = Checkpoint.Open(folder.Location);
        Assert.That(checkpoint.ReadBytes("b"), Is.EqualTo(new byte[] { 8, 9 }));
    }

    [Test]
    public void RefusesANameTwiceAcrossShards()
    {
        using var folder = new TemporaryFolder();
        Assert.That(
            () => Checkpoint.Save(folder.Location, [.. Three, Three[0]], maxShardBytes: 1),
            Throws.TypeOf<CheckpointException>().With.Property(nameof(CheckpointException.Key)).EqualTo("c"));
    }

    [Test]
    public void AFolderWithoutACheckpointIsAnErrorThatSaysSo()
    {
        using var folder = new TemporaryFolder();
        Assert.That(() => Checkpoint.Open(folder.Location), Throws.TypeOf<CheckpointException>().With.Message.Contains("holds neither"));
    }

    [TestCase("""{"weight_map":{"a":"x.safetensors","b":"x.safetensors"}}""", "b", "is not in x.safetensors")]
    [TestCase("""{"weight_map":{"b":"y.safetensors"}}""", "c", "not in the index")]
    [TestCase("""{"weight_map":{"a":"x.safetensors","b":"y.safetensors","c":"x.safetensors"}}""", "c", "the index says x.safetensors")]
    [TestCase("""{"weight_map":{"a":"z.safetensors"}}""", null, "cannot be opened")]
    [TestCase("""{"weight_map":{"a":"../x.safetensors"}}""", "a", "same folder")]
    [TestCase("""{"weight_map":{"a":"/etc/passwd"}}""", "a", "same folder")]
    [TestCase("""{"weight_map":{"a":".."}}""", "a", "same folder")]
    [TestCase("""{"weight_map":{"a":5}}""", "a", "same folder")]
    [TestCase("""{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}""", "a", "twice")]
    [TestCase("""{"weight_map":[]}""", null, "no weight_map")]
    [TestCase("""[]""", null, "no weight_map")]
    [TestCase("""{"weight_map":""", null, "well-formed")]
    [TestCase("""{"weight_map":{"\ud800":"x.safetensors"}}""", null, "well-formed")]
    public void RefusesAnIndexThatDoesNotFit(string index, string? key, string message)
    {
        using var folder = new TemporaryFolder();
        SafetensorsWriter.Write(folder.File("x.safetensors"), [Three[1]]);
        SafetensorsWriter.Write(folder.File("y.safetensors"), [Three[0], Three[2]]);
        File.WriteAllText(folder.File("model.safetensors.index.json"), index);
        var error = Assert.Throws<CheckpointException>(() => Checkpoint.Open(folder.Location))!;
        Assert.That(error.Message, Does.Contain(message));
        Assert.That(error.Key, Is.EqualTo(key));
    }
}
