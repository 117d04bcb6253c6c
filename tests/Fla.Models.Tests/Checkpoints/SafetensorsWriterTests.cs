using CsCheck;
using Fla.Models.Checkpoints;
using Fla.Testing;
using NUnit.Framework;

namespace Fla.Models.Tests.Checkpoints;

public sealed class SafetensorsWriterTests
{
    private static readonly Gen<(string Name, StoredType Type, long[] Shape)> GenTensor = Gen.Select(
        Gen.String[1, 12].Where(text => text != "__metadata__" && !text.Any(char.IsSurrogate)),
        Gen.Enum<StoredType>(),
        Gen.Long[0, 5].Array[0, 4]);

    [TestCase("models/gla/model.safetensors")]
    [TestCase("models/gla/expected.safetensors")]
    [TestCase("models/based/model.safetensors")]
    [TestCase("layers/simple_gla/expected.safetensors")]
    [TestCase("ops/chunk_retention.safetensors")]
    public void RewritesAFileOfThePythonPackageByteForByte(string name)
    {
        using var folder = new TemporaryFolder();
        using var source = SafetensorsFile.Open(Golden.Path(name));
        var tensors = source.Tensors.Values.Select(t => TensorData.FromBytes(t.Name, t.Type, t.Shape.ToArray(), source.ReadBytes(t.Name)));
        SafetensorsWriter.Write(folder.File("copy"), tensors.Reverse(), source.Metadata);
        Assert.That(File.ReadAllBytes(folder.File("copy")), Is.EqualTo(File.ReadAllBytes(source.Location)));
    }

    [Test]
    public void AnyTensorsComeBackAsTheyWere()
    {
        using var folder = new TemporaryFolder();
        GenTensor.Array[0, 8].Sample(
            specs =>
            {
                var random = new Random(specs.Length);
                var path = folder.File("any.safetensors");
                var tensors = specs.DistinctBy(spec => spec.Name).ToDictionary(spec => spec.Name, spec =>
                {
                    var bytes = new byte[spec.Shape.Aggregate(1L, (product, size) => product * size) * spec.Type.SizeInBytes()];
                    random.NextBytes(bytes);
                    return (spec.Type, spec.Shape, Bytes: bytes);
                });
                SafetensorsWriter.Write(path, tensors.Select(t => TensorData.FromBytes(t.Key, t.Value.Type, t.Value.Shape, t.Value.Bytes)));
                Assert.That(BitConverter.ToInt64(File.ReadAllBytes(path)) % 8, Is.Zero);
                using var file = SafetensorsFile.Open(path);
                Assert.That(file.Tensors.Keys, Is.EquivalentTo(tensors.Keys));
                foreach (var (name, (type, shape, bytes)) in tensors)
                {
                    Assert.That(file.Info(name).Type, Is.EqualTo(type));
                    Assert.That(file.Info(name).Shape, Is.EqualTo(shape));
                    Assert.That(file.ReadBytes(name), Is.EqualTo(bytes));
                }
            },
            iter: 300,
            seed: "0N0XIzNsQ0O2",
            threads: 1);
    }

    [Test]
    public void SinglesAreRoundedToNearestEven()
    {
        using var folder = new TemporaryFolder();
        float[] values = [1, 1.00390625f, 1.01171875f, -0f, float.NaN, float.PositiveInfinity, 3.3895314e38f, 1e-40f];
        SafetensorsWriter.Write(
            folder.File("a"),
            [
                TensorData.FromSingle("bf16", [8], values, StoredType.BFloat16),
                TensorData.FromSingle("f16", [8], values, StoredType.Float16),
                TensorData.FromSingle("f32", [2, 4], values),
                TensorData.FromInt64("i64", [1], new[] { -5L }),
            ]);
        using var file = SafetensorsFile.Open(folder.File("a"));
        Assert.Multiple(() =>
        {
            // 1 + 1/256 and 1 + 3/256 lie half way between neighbours of BF16; ties go to the even one.
            Assert.That(file.ReadSingle("bf16")[..4], Is.EqualTo(new[] { 1, 1, 1.015625f, -0f }));
            Assert.That(file.ReadSingle("bf16")[4..6], Is.EqualTo(new[] { float.NaN, float.PositiveInfinity }));
            Assert.That(file.ReadSingle("f16"), Is.EqualTo(values.Select(value => (float)(Half)value)));
            Assert.That(file.ReadSingle("f32"), Is.EqualTo(values));
            Assert.That(file.ReadInt64("i64"), Is.EqualTo(new[] { -5L }));
        });
    }

    [Test]
    public void RefusesWhatDoesNotFit()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("a");
        var a = TensorData.FromBytes("a", StoredType.UInt8, [1], new byte[1]);
        Assert.Multiple(() =>
        {
            Assert.That(() => TensorData.FromBytes("a", StoredType.UInt8, [2], new byte[3]), Refused("a", "3 bytes were given for 2"));
            Assert.That(() => TensorData.FromBytes("a", StoredType.UInt8, [-1], new byte[3]), Refused("a", "negative"));
            Assert.That(() => TensorData.FromBytes("a", StoredType.Int64, [1L << 61, 2], new byte[3]), Refused("a", "overflows"));
            Assert.That(() => TensorData.FromSingle("a", [1], new float[1], StoredType.Int8), Refused("a", "I8"));
            Assert.That(() => TensorData.FromBytes("__metadata__", StoredType.UInt8, [1], new byte[1]), Refused("__metadata__", "name"));
            Assert.That(() => SafetensorsWriter.Write(path, [a, a]), Refused("a", "twice"));
        });
        Assert.That(folder.FileNames, Is.Empty);
    }

    [TestCase(1)]
    [TestCase(3)]
    public void AFailedSaveLeavesTheOldFileAndNothingElse(int produced)
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("a");
        SafetensorsWriter.Write(path, [TensorData.FromBytes("a", StoredType.UInt8, [2], new byte[] { 1, 2 })]);
        var before = File.ReadAllBytes(path);
        var bad = new TensorData("b", StoredType.UInt8, [2], stream => stream.Write(new byte[produced]));
        Assert.That(() => SafetensorsWriter.Write(path, [bad]), Refused("b", $"wrote {produced} bytes instead of 2"));
        var thrown = new TensorData("b", StoredType.UInt8, [2], _ => throw new InvalidOperationException("the device went away"));
        Assert.That(() => SafetensorsWriter.Write(path, [thrown]), Throws.InvalidOperationException);
        Assert.That(folder.FileNames, Is.EqualTo(new[] { "a" }));
        Assert.That(File.ReadAllBytes(path), Is.EqualTo(before));
    }

    [Test]
    public void AMissingFolderIsATypedError()
    {
        using var folder = new TemporaryFolder();
        Assert.Throws<CheckpointException>(() => SafetensorsWriter.Write(Path.Combine(folder.Location, "no", "a"), []));
    }

    private static NUnit.Framework.Constraints.IResolveConstraint Refused(string key, string message)
        => Throws.TypeOf<CheckpointException>().With.Message.Contains(message).And.Property(nameof(CheckpointException.Key)).EqualTo(key);
}
