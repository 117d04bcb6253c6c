using System.Buffers.Binary;
using System.Text;
using Fla.Models.Checkpoints;
using Fla.Testing;
using NUnit.Framework;

namespace Fla.Models.Tests.Checkpoints;

public sealed class SafetensorsFileTests
{
    [Test]
    public void ReadsAGoldenModel()
    {
        using var file = SafetensorsFile.Open(Golden.Path("models/gla/model.safetensors"));
        var head = file.Info("lm_head.weight");
        Assert.Multiple(() =>
        {
            Assert.That(file.Metadata, Is.EquivalentTo(new Dictionary<string, string> { ["format"] = "pt" }));
            Assert.That(head.Type, Is.EqualTo(StoredType.Float16));
            Assert.That(head.Shape, Is.EqualTo(new long[] { 96, 64 }));
            Assert.That(file.Contains("model.layers.1.attn.gk_proj.1.bias"));
            Assert.That(file.Contains("model.layers.2.attn.gk_proj.1.bias"), Is.False);
        });
        var bytes = file.ReadBytes("lm_head.weight");
        var values = file.ReadSingle("lm_head.weight");
        Assert.That(values, Has.Length.EqualTo(96 * 64));
        for (var i = 0; i < values.Length; i++)
        {
            Assert.That(values[i], Is.EqualTo((float)BinaryPrimitives.ReadHalfLittleEndian(bytes.AsSpan(2 * i))));
        }
    }

    [TestCase("models/gla")]
    [TestCase("models/retnet")]
    public void GoldenLossAndLogitsBelongTogether(string model)
    {
        // Mean cross entropy over all rows but the last, computed here from the file's logits and ids, is the file's loss.
        using var expected = Golden.Open(model + "/expected.safetensors");
        var logits = expected["logits"];
        var ids = expected.Integers("input_ids");
        var shape = expected.Shape("logits");
        double sum = 0;
        for (var b = 0; b < shape[0]; b++)
        {
            for (var t = 0; t + 1 < shape[1]; t++)
            {
                var row = logits.AsSpan((b * shape[1] + t) * shape[2], shape[2]);
                double total = 0;
                foreach (var logit in row)
                {
                    total += Math.Exp(logit);
                }

                sum += Math.Log(total) - row[ids[b * shape[1] + t + 1]];
            }
        }

        Assert.That(sum / (shape[0] * (shape[1] - 1)), Is.EqualTo(expected["loss"][0]).Within(1e-5));
    }

    [Test]
    public void ReadsEveryType()
    {
        var json = """
            {"bool":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]},"u8":{"dtype":"U8","shape":[2],"data_offsets":[2,4]},
            "i8":{"dtype":"I8","shape":[2],"data_offsets":[4,6]},"i16":{"dtype":"I16","shape":[1],"data_offsets":[6,8]},
            "f16":{"dtype":"F16","shape":[1],"data_offsets":[8,10]},"bf16":{"dtype":"BF16","shape":[1],"data_offsets":[10,12]},
            "i32":{"dtype":"I32","shape":[],"data_offsets":[12,16]},"f32":{"dtype":"F32","shape":[1,1],"data_offsets":[16,20]},
            "f64":{"dtype":"F64","shape":[1],"data_offsets":[20,28]},"i64":{"dtype":"I64","shape":[1],"data_offsets":[28,36]},
            "none":{"dtype":"F32","shape":[3,0],"data_offsets":[36,36]}}
            """;
        var bytes = SafetensorsBytes.Build(json, 36);
        var data = bytes.AsSpan(bytes.Length - 36);
        new byte[] { 1, 0, 200, 7, 0xFF, 3 }.CopyTo(data);
        BinaryPrimitives.WriteInt16LittleEndian(data[6..], -300);
        BinaryPrimitives.WriteHalfLittleEndian(data[8..], (Half)1.5f);
        BinaryPrimitives.WriteUInt16LittleEndian(data[10..], 0xC040);
        BinaryPrimitives.WriteInt32LittleEndian(data[12..], -70000);
        BinaryPrimitives.WriteSingleLittleEndian(data[16..], 0.1f);
        BinaryPrimitives.WriteDoubleLittleEndian(data[20..], Math.PI);
        BinaryPrimitives.WriteInt64LittleEndian(data[28..], 1L << 40);
        using var file = SafetensorsFile.FromBytes(bytes);
        Assert.Multiple(() =>
        {
            Assert.That(file.ReadInt64("bool"), Is.EqualTo(new long[] { 1, 0 }));
            Assert.That(file.ReadInt32("u8"), Is.EqualTo(new[] { 200, 7 }));
            Assert.That(file.ReadInt32("i8"), Is.EqualTo(new[] { -1, 3 }));
            Assert.That(file.ReadInt64("i16"), Is.EqualTo(new long[] { -300 }));
            Assert.That(file.ReadSingle("f16"), Is.EqualTo(new[] { 1.5f }));
            Assert.That(file.ReadSingle("bf16"), Is.EqualTo(new[] { -3f }));
            Assert.That(file.ReadInt32("i32"), Is.EqualTo(new[] { -70000 }));
            Assert.That(file.ReadSingle("f32"), Is.EqualTo(new[] { 0.1f }));
            Assert.That(file.ReadSingle("f64"), Is.EqualTo(new[] { (float)Math.PI }));
            Assert.That(file.ReadInt64("i64"), Is.EqualTo(new[] { 1L << 40 }));
            Assert.That(file.ReadSingle("none"), Is.Empty);
            Assert.That(file.Info("i32").Shape, Is.Empty);
        });
    }

    [Test]
    public void ReadsPartsOfATensor()
    {
        using var file = SafetensorsFile.FromBytes(SafetensorsBytes.Build("""{"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10]}}""", 10));
        var part = new byte[3];
        file.CopyTo("a", 4, part);
        Assert.That(part, Is.EqualTo(new byte[] { 4, 5, 6 }));
        Assert.Throws<CheckpointException>(() => file.CopyTo("a", 8, part));
        Assert.Throws<CheckpointException>(() => file.CopyTo("a", -1, part));
    }

    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} x""", 8, "well-formed", null)]
    [TestCase("""[]""", 0, "not a JSON object", null)]
    [TestCase("", 0, "not a JSON object", null)]
    [TestCase(""" {}""", 0, "not a JSON object", null)]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}""", 8, "well-formed", null)]
    [TestCase("""{"\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8, "well-formed", null)]
    [TestCase("""{"a":{"dtype":"F32","shape":[[[2]]],"data_offsets":[0,8]}}""", 8, "non-negative integer", "a")]
    [TestCase("""{"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}}""", 8, "dtype 'F31' is not supported", "a")]
    [TestCase("""{"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}}""", 8, "dtype is not a string", "a")]
    [TestCase("""{"a":[]}""", 0, "not an object", "a")]
    [TestCase("""{"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}""", 8, "shape is not a list", "a")]
    [TestCase("""{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", 8, "non-negative integer", "a")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}""", 8, "non-negative integer", "a")]
    [TestCase("""{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}}""", 8, "non-negative integer", "a")]
    [TestCase("""{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}""", 8, "overflows", "a")]
    [TestCase("""{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,8]}}""", 8, "overflows", "a")]
    [TestCase("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", 8, "12 bytes, but data_offsets span 8", "a")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", 8, "not [begin, end]", "a")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}""", 8, "not [begin, end]", "a")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}""", 8, "not [begin, end]", "a")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2]}}""", 8, "lacks dtype, shape or data_offsets", "a")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}""", 8, "shape twice", "a")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}}""", 8, "unknown field 'more'", "a")]
    [TestCase("""{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}""", 8, "key twice", "a")]
    [TestCase("""{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[5,9]}}""", 9, "hole of 1 bytes", "b")]
    [TestCase("""{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}}""", 7, "overlaps", "b")]
    [TestCase("""{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}""", 5, "belong to no tensor", null)]
    [TestCase("""{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}""", 3, "ends at 4, but the file has 3", "a")]
    [TestCase("""{"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}""", 3, "ends at", "a")]
    [TestCase("""{"__metadata__":{"a":1}}""", 0, "'a' in __metadata__ is not a string", null)]
    [TestCase("""{"__metadata__":{"a":"1","a":"2"}}""", 0, "'a' twice", null)]
    [TestCase("""{"__metadata__":[]}""", 0, "__metadata__ is not an object", null)]
    [TestCase("""{"__metadata__":{},"__metadata__":{}}""", 0, "__metadata__ twice", null)]
    public void RefusesAMalformedHeader(string json, int dataLength, string message, string? key)
    {
        var error = Assert.Throws<CheckpointException>(() => SafetensorsFile.FromBytes(SafetensorsBytes.Build(json, dataLength), "some.file"))!;
        Assert.Multiple(() =>
        {
            Assert.That(error.Message, Does.StartWith("some.file: ").And.Contain(message));
            Assert.That(error.Key, Is.EqualTo(key));
            Assert.That(error.File, Is.EqualTo("some.file"));
        });
    }

    [Test]
    public void RefusesInvalidUtf8()
    {
        var json = Encoding.Latin1.GetBytes("{\"\u00e9\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}");
        Assert.That(
            () => SafetensorsFile.FromBytes(SafetensorsBytes.Build(json, 1)),
            Throws.TypeOf<CheckpointException>().With.Message.Contains("UTF-8"));
    }

    [TestCase(ulong.MaxValue, "limit")]
    [TestCase(100_000_001UL, "limit")]
    [TestCase(100_000_000UL, "but the file has 2 after it")]
    [TestCase(3UL, "but the file has 2 after it")]
    public void RefusesAnUnlikelyHeaderLengthWithoutAllocatingIt(ulong length, string message)
    {
        var bytes = SafetensorsBytes.Build("{}", 0);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, length);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.That(() => SafetensorsFile.FromBytes(bytes), Throws.TypeOf<CheckpointException>().With.Message.Contains(message));
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1_000_000));
    }

    [TestCase(0)]
    [TestCase(7)]
    public void RefusesAFileWithoutALength(int length)
        => Assert.That(() => SafetensorsFile.FromBytes(new byte[length]), Throws.TypeOf<CheckpointException>().With.Message.Contains("too few"));

    [Test]
    public void AcceptsAnEmptyFileAndPadding()
    {
        using var empty = SafetensorsFile.FromBytes(SafetensorsBytes.Build("{}      ", 0));
        Assert.That(empty.Tensors, Is.Empty);
    }

    [Test]
    public void NamesAMissingTensorAndAWrongType()
    {
        using var file = SafetensorsFile.Open(Golden.Path("models/gla/expected.safetensors"));
        var missing = Assert.Throws<CheckpointException>(() => file.ReadSingle("nothing"))!;
        Assert.Multiple(() =>
        {
            Assert.That(missing.Key, Is.EqualTo("nothing"));
            Assert.That(missing.Message, Does.Contain("expected.safetensors"));
            Assert.That(() => file.ReadSingle("input_ids"), Throws.TypeOf<CheckpointException>().With.Message.Contains("is I64"));
            Assert.That(() => file.ReadInt64("logits"), Throws.TypeOf<CheckpointException>().With.Message.Contains("is F32"));
        });
    }

    [Test]
    public void RefusesIntegersThatDoNotFit()
    {
        var bytes = SafetensorsBytes.Build("""{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}""", 8);
        using var file = SafetensorsFile.FromBytes(bytes);
        Assert.That(() => file.ReadInt32("a"), Throws.TypeOf<CheckpointException>().With.Message.Contains("outside 32 bits"));
    }

    [Test]
    public void RefusesAMissingFileAndAFolder()
    {
        using var folder = new TemporaryFolder();
        Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(folder.File("nothing")));
        Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(folder.Location));
    }

    [Test]
    public void AFileThatShrinksWhileOpenIsAnError()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("a.safetensors");
        File.WriteAllBytes(path, SafetensorsBytes.Build("""{"a":{"dtype":"U8","shape":[100],"data_offsets":[0,100]}}""", 100));
        using var file = SafetensorsFile.Open(path);
        using (var writer = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            writer.SetLength(writer.Length - 10);
        }

        Assert.That(() => file.ReadBytes("a"), Throws.TypeOf<CheckpointException>().With.Message.Contains("was cut"));
    }
}
