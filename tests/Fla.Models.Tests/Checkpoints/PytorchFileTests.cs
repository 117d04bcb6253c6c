using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using Fla.Models.Checkpoints;
using Fla.Testing;
using NUnit.Framework;

namespace Fla.Models.Tests.Checkpoints;

/// <summary>Files that torch.save of PyTorch 2.11 wrote (tests/golden/pytorch/make.py), and archives made here.</summary>
public sealed class PytorchFileTests
{
    /// <summary>arange(24) / 4 as [4, 6].</summary>
    private static readonly float[] Base = [.. Enumerable.Range(0, 24).Select(i => i / 4f)];

    [Test]
    public void ReadsEveryTypeAndView()
    {
        using var file = PytorchFile.Open(Golden.Path("pytorch/types.pt"));
        Assert.Multiple(() =>
        {
            foreach (var name in new[] { "f32", "f16", "bf16", "f64", "tied", "parameter" }) Assert.That(file.ReadSingle(name), Is.EqualTo(Base), name);
            foreach (var name in new[] { "i64", "i32", "i16", "i8", "u8" }) Assert.That(file.ReadInt64(name), Is.EqualTo(Base.Select(x => (long)x)), name);
            Assert.That(file.ReadInt64("bool"), Is.EqualTo(new long[] { 1, 0, 1 }));
            Assert.That(file.Info("bf16").Type, Is.EqualTo(StoredType.BFloat16));
            Assert.That(file.Info("transposed").Shape, Is.EqualTo(new long[] { 6, 4 }));
            Assert.That(file.ReadSingle("transposed"), Is.EqualTo(Enumerable.Range(0, 24).Select(i => Base[i % 4 * 6 + i / 4])));
            Assert.That(file.ReadSingle("rows"), Is.EqualTo(Base[6..18]));
            Assert.That(file.ReadSingle("columns"), Is.EqualTo(Base.Where((_, i) => i % 2 == 1)));
            Assert.That(file.ReadSingle("expanded"), Is.EqualTo(new[] { 0.5f, 0.5f, 0.5f }));
            Assert.That((file.Info("scalar").Shape.Count, file.ReadSingle("scalar")[0]), Is.EqualTo((0, 2.5f)));
            Assert.That((file.Info("empty").Shape[1], file.ReadSingle("empty").Length), Is.EqualTo((3L, 0)));
        });
        var part = new byte[6];
        file.CopyTo("transposed", 2, part);
        Assert.That(BitConverter.ToSingle(part, 2), Is.EqualTo(Base[6]));
    }

    [TestCase("pytorch/protocol4.pt", "bf16")]
    [TestCase("pytorch/module.pt", "1.running_var")]
    public void ReadsOtherPicklesOfDicts(string path, string key)
    {
        using var file = PytorchFile.Open(Golden.Path(path));
        Assert.That(file.ReadSingle(key), Is.Not.Empty);
    }

    [TestCase("legacy.pt", "before PyTorch 1.6")]
    [TestCase("nested.pt", "tensor 'model': is a dict, not a tensor")]
    [TestCase("whole_module.pt", "asks for torch.nn.modules.container.Sequential")]
    [TestCase("call.pt", "print")]
    [TestCase("tensor.pt", "holds no dict of tensors")]
    [TestCase("complex.pt", "torch.ComplexFloatStorage")]
    [TestCase("float8.pt", "torch._utils._rebuild_tensor_v3")]
    public void RefusesWhatIsMoreThanADictOfTensorsByName(string name, string message) =>
        Assert.That(() => PytorchFile.Open(Golden.Path($"pytorch/{name}")), Throws.TypeOf<CheckpointException>().With.Message.Contains(message));

    [Test]
    public void WhatIsWrittenIsReadBack()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("state.pt");
        TensorData[] tensors =
        [
            .. Enum.GetValues<StoredType>().Select(type => TensorData.FromBytes($"a.{type}", type, [2, 1, 3], Enumerable.Range(0, 6 * type.SizeInBytes()).Select(i => (byte)i).ToArray())),
            TensorData.FromSingle("scalar", [], new[] { 3f }), TensorData.FromSingle("none", [0, 2], Array.Empty<float>()), TensorData.FromSingle("größe", [1], new[] { 1f }),
        ];
        PytorchWriter.Write(path, tensors, new Dictionary<string, string> { ["tied"] = "scalar" });
        using var file = PytorchFile.Open(path);
        Assert.That(file.Tensors.Keys, Is.EqualTo(tensors.Select(t => t.Name).Append("tied")));
        foreach (var type in Enum.GetValues<StoredType>())
        {
            var info = file.Info($"a.{type}");
            Assert.That((info.Type, info.Shape), Is.EqualTo((type, new long[] { 2, 1, 3 })).Using<(StoredType, IReadOnlyList<long>)>((x, y) => x.Item1 == y.Item1 && x.Item2.SequenceEqual(y.Item2)));
            Assert.That(file.ReadBytes(info.Name), Is.EqualTo(Enumerable.Range(0, 6 * type.SizeInBytes()).Select(i => (byte)i)));
        }
        Assert.That((file.ReadSingle("tied")[0], file.ReadSingle("none").Length, file.ReadSingle("größe")[0]), Is.EqualTo((3f, 0, 1f)));
    }

    [Test]
    public void WritingRefusesWhatDoesNotFit()
    {
        using var folder = new TemporaryFolder();
        var tensor = TensorData.FromSingle("a", [1], new[] { 1f });
        Assert.That(() => PytorchWriter.Write(folder.File("x.pt"), [tensor, tensor]), Throws.TypeOf<CheckpointException>().With.Message.Contains("twice"));
        Assert.That(() => PytorchWriter.Write(folder.File("x.pt"), [tensor], new Dictionary<string, string> { ["b"] = "c" }), Throws.TypeOf<CheckpointException>().With.Message.Contains("'c'"));
        Assert.That(() => PytorchWriter.Write(folder.File("x.pt"), [new TensorData("a", StoredType.Int8, [3], stream => stream.WriteByte(1))]),
            Throws.TypeOf<CheckpointException>().With.Message.Contains("1 bytes instead of 3"));
        Assert.That(Directory.GetFiles(folder.Location), Is.Empty);
    }

    [Test]
    public void AnyByteMayBeWrong()
    {
        var whole = File.ReadAllBytes(Golden.Path("pytorch/module.pt"));
        foreach (var flip in new byte[] { 0xFF, 0x01, 0x80 })
        {
            for (var i = 0; i < whole.Length; i++)
            {
                var bytes = (byte[])whole.Clone();
                bytes[i] ^= flip;
                Try(bytes);
            }
        }
        for (var length = 0; length < whole.Length; length++) Try(whole[..length]);

        static void Try(byte[] bytes)
        {
            try
            {
                using var file = PytorchFile.FromBytes(bytes);
                foreach (var name in file.Tensors.Keys) _ = file.ReadBytes(name);
            }
            catch (CheckpointException)
            {
                // The only exception that is allowed.
            }
        }
    }

    [TestCase("cos\nsystem\n.", "asks for os.system")]
    [TestCase("cposix\nsystem\n(X\u0002\0\0\0lstR.", "asks for posix.system")]
    [TestCase("ccollections\nOrderedDict\n(K\u0001tR.", "calls collections.OrderedDict with arguments")]
    [TestCase("}K\u0001Ns.", "a key of its dict is a number")]
    [TestCase("}X\u0001\0\0\0aNs.", "tensor 'a': is None, not a tensor")]
    [TestCase("}(X\u0001\0\0\0aNX\u0001\0\0\0aNu.", "twice")]
    [TestCase("}h\u0007.", "malformed")]
    [TestCase("}}.", "malformed")]
    [TestCase(".", "malformed")]
    [TestCase("}", "malformed")]
    [TestCase("}X\uFFFF.", "malformed")]
    [TestCase("i", "operation 0x69")]
    public void RefusesAPickleByName(string pickle, string message) =>
        Assert.That(() => PytorchFile.FromBytes(Archive(("data.pkl", [0x80, 2, .. Encoding.Latin1.GetBytes(pickle)]))), Throws.TypeOf<CheckpointException>().With.Message.Contains(message));

    [TestCase(0, 6, 1, 24, null)]
    [TestCase(1, 6, 1, 24, "outside its storage")]
    [TestCase(0, 2, 6, 24, "outside its storage")]
    [TestCase(0, 2, 5, 24, null)]
    [TestCase(0, 6, 1, 23, "too short")]
    [TestCase(-1, 2, 1, 24, "malformed")]
    [TestCase(0, 2, -1, 24, "malformed")]
    [TestCase(0, int.MaxValue, int.MaxValue, 24, "outside its storage")]
    public void AViewLiesInItsStorage(int first, int size, int stride, int storageBytes, string? message)
    {
        var pickle = new List<byte>([0x80, 2, .. "}X\u0001\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\u0007\0\0\0storagectorch\nFloatStorage\nX\u0001\0\0\00X\u0003\0\0\0cpuK\u0006tQ"u8]);
        foreach (var (number, after) in new[] { (first, ""), (size, "\u0085"), (stride, "\u0085\u0089NtRs.") })
        {
            var bytes = new byte[5];
            bytes[0] = (byte)'J';
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(1), number);
            pickle.AddRange([.. bytes, .. Encoding.Latin1.GetBytes(after)]);
        }
        var archive = Archive(("data.pkl", [.. pickle]), ("data/0", new byte[storageBytes]));
        if (message is null)
        {
            using var file = PytorchFile.FromBytes(archive);
            Assert.That(file.ReadSingle("a"), Has.Length.EqualTo(size));
        }
        else
        {
            Assert.That(() => PytorchFile.FromBytes(archive), Throws.TypeOf<CheckpointException>().With.Message.Contains(message));
        }
    }

    [Test]
    public void RefusesOtherArchives()
    {
        byte[] empty = [0x80, 2, (byte)'}', (byte)'.'];
        Assert.That(() => PytorchFile.FromBytes(Archive(("data.pkl", empty), ("byteorder", "big"u8.ToArray()))), Throws.TypeOf<CheckpointException>().With.Message.Contains("byte order"));
        Assert.That(() => PytorchFile.FromBytes(Archive(("data.pkl", empty), ("constants.pkl", empty))), Throws.TypeOf<CheckpointException>().With.Message.Contains("TorchScript"));
        Assert.That(() => PytorchFile.FromBytes(Archive(("other", empty))), Throws.TypeOf<CheckpointException>().With.Message.Contains("without data.pkl"));
        Assert.That(() => PytorchFile.FromBytes(Archive(CompressionLevel.Optimal, ("data.pkl", new byte[1000]))), Throws.TypeOf<CheckpointException>().With.Message.Contains("compressed"));
        Assert.That(() => PytorchFile.FromBytes(new byte[100]), Throws.TypeOf<CheckpointException>().With.Message.Contains("not a file of torch.save"));
        using var none = PytorchFile.FromBytes(Archive(("data.pkl", empty)));
        Assert.That(none.Tensors, Is.Empty);
    }

    [Test]
    public void AFolderOrAFileOfACheckpointMayBeOfTorchSave()
    {
        using var folder = new TemporaryFolder();
        var (first, second) = (TensorData.FromSingle("a", [2], new[] { 1f, 2 }), TensorData.FromSingle("b", [1], new[] { 3f }));
        PytorchWriter.Write(folder.File("pytorch_model-00001-of-00002.bin"), [first]);
        PytorchWriter.Write(folder.File("pytorch_model-00002-of-00002.bin"), [second]);
        File.WriteAllText(folder.File(Checkpoint.PytorchIndexFileName), """{"weight_map":{"a":"pytorch_model-00001-of-00002.bin","b":"pytorch_model-00002-of-00002.bin"}}""");
        using (var shards = Checkpoint.Open(folder.Location)) Assert.That((shards.ReadSingle("a")[1], shards.ReadSingle("b")[0]), Is.EqualTo((2f, 3f)));

        PytorchWriter.Write(folder.File(Checkpoint.PytorchFileName), [second]);
        using (var single = Checkpoint.Open(folder.Location)) Assert.That(single.Tensors.Keys, Is.EqualTo(new[] { "b" }));
        using (var file = Checkpoint.Open(folder.File(Checkpoint.PytorchFileName))) Assert.That(file.Tensors.Keys, Is.EqualTo(new[] { "b" }));

        SafetensorsWriter.Write(folder.File(Checkpoint.FileName), [first]);
        using var safetensors = Checkpoint.Open(folder.Location);
        Assert.That(safetensors.Tensors.Keys, Is.EqualTo(new[] { "a" }));
    }

    private static byte[] Archive(params (string Name, byte[] Bytes)[] entries) => Archive(CompressionLevel.NoCompression, entries);

    private static byte[] Archive(CompressionLevel level, params (string Name, byte[] Bytes)[] entries)
    {
        using var stream = new MemoryStream();
        using (var archive = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true))
        {
            foreach (var (name, bytes) in entries)
            {
                using var target = archive.CreateEntry($"any/{name}", level).Open();
                target.Write(bytes);
            }
        }
        return stream.ToArray();
    }
}
