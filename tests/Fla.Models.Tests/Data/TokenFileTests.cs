using Fla.Models.Data;
using NUnit.Framework;

namespace Fla.Models.Tests.Data;

public sealed class TokenFileTests : DataFolder
{
    [TestCase(259, "u16")]
    [TestCase(65536, "u16")]
    [TestCase(65537, "u32")]
    public void WhatIsWrittenIsRead(int vocabSize, string dtype)
    {
        int[][] documents = [[1, 2, vocabSize - 1], [0], [7, 7, 7, 7]];
        using (var writer = new TokenFileWriter(In("a.bin"), vocabSize))
        {
            foreach (var document in documents)
            {
                writer.Add(document.AsSpan(0, 1));
                writer.Add(document.AsSpan(1));
                writer.EndDocument();
                writer.EndDocument();
            }
            Assert.That(File.Exists(In("a.bin")), Is.False, "a file gets its name when it is whole");
            writer.Finish();
        }
        using var file = TokenFile.Open(In("a.bin"));
        Assert.That((file.Header.Dtype, file.Header.VocabSize, file.Count), Is.EqualTo((dtype, vocabSize, 8L)));
        Assert.That(file.Ends.ToArray(), Is.EqualTo(new long[] { 3, 4, 8 }));
        Assert.That(file.Documents().Select(d => d.ToArray()), Is.EqualTo(documents));
        Assert.That(file.Documents(3).Select(d => d.Length), Is.EqualTo(new[] { 3, 1, 3, 1 }));
        var tokens = new int[3];
        file.Read(2, tokens);
        Assert.That(tokens, Is.EqualTo(new[] { vocabSize - 1, 0, 7 }));
        Assert.That(Directory.GetFiles(In("."), "*.unfinished"), Is.Empty);
    }

    [Test]
    public void FileOfOthersNeedsTwoFields()
    {
        File.WriteAllBytes(In("train.bin"), [1, 0, 2, 0, 9, 0, 3, 1, 9, 0, 4, 0]);
        Write("train.json", """{ "dtype": "u16", "vocab_size": 300, "end_token": 9 }""");
        using var ended = TokenFile.Open(In("train.bin"));
        Assert.That(ended.Documents().Select(d => d.ToArray()), Is.EqualTo(new int[][] { [1, 2, 9], [259, 9], [4] }));
        Write("train.json", """{ "dtype": "u16", "vocab_size": 300 }""");
        using var whole = TokenFile.Open(In("train.bin"));
        Assert.That(whole.Ends.ToArray(), Is.EqualTo(new long[] { 6 }));
        Write("train.json", """{ "dtype": "u32", "vocab_size": 300 }""");
        using var wide = TokenFile.Open(In("train.bin"));
        Assert.That(wide.Documents().Single().ToArray(), Is.EqualTo(new[] { 0x20001, 0x1030009, 0x40009 }));
    }

    [TestCase("""{ "dtype": "u16" }""", "vocab_size")]
    [TestCase("""{ "dtype": "f32", "vocab_size": 10 }""", "u16 or u32")]
    [TestCase("""{ "dtype": "u16", "vocab_size": 0 }""", "vocab_size")]
    [TestCase("""{ "dtype": "u16", "vocab_size": 10, "endtoken": 1 }""", "endtoken")]
    [TestCase("""{ "dtype": "u16", "vocab_size": 10, "end_token": 10 }""", "end_token")]
    [TestCase("""{ "dtype": "u16", "vocab_size": 10, "tokens": 5 }""", "promised")]
    [TestCase("""{ "dtype": "u16", "vocab_size": 10, "documents": 3 }""", "8 for each")]
    [TestCase("""{ "dtype": "u16", "vocab_size": 10, "documents": 2, "end_token": 1 }""", "both")]
    [TestCase("""{ "dtype": "u32", "vocab_size": 10 }""", "whole number")]
    [TestCase("null", "null")]
    [TestCase("{", "a.json")]
    public void MalformedDescriptionIsATypedError(string header, string message)
    {
        Make([1, 2, 3], [2, 3]);
        Write("a.json", header);
        Assert.That(() => TokenFile.Open(In("a.bin")), Throws.TypeOf<DatasetException>().With.Message.Contains(message));
    }

    [TestCase(3L, 3L, "rise")]
    [TestCase(2L, 4L, "ends at 4")]
    [TestCase(0L, 3L, "rise")]
    public void MalformedEndsAreATypedError(long first, long second, string message)
    {
        Make([1, 2, 3], [2, 3]);
        File.WriteAllBytes(In("a.ends"), [.. BitConverter.GetBytes(first), .. BitConverter.GetBytes(second)]);
        Assert.That(() => TokenFile.Open(In("a.bin")), Throws.TypeOf<DatasetException>().With.Message.Contains(message));
    }

    [Test]
    public void MissingFilesAreNamed()
    {
        Make([1, 2, 3], [2, 3]);
        File.Delete(In("a.ends"));
        Assert.That(() => TokenFile.Open(In("a.bin")), Throws.TypeOf<DatasetException>().With.Message.Contains("a.ends"));
        File.Delete(In("a.json"));
        Assert.That(() => TokenFile.Open(In("a.bin")), Throws.TypeOf<DatasetException>().With.Message.Contains("a.json"));
        Assert.That(() => TokenFile.Open(In("b.bin")), Throws.InstanceOf<IOException>());
    }

    [Test]
    public void FileThatIsCutOffWhileInUseIsATypedError()
    {
        Make([1, 2, 3], [2, 3]);
        using var file = TokenFile.Open(In("a.bin"));
        using (var stream = File.Open(In("a.bin"), FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) stream.SetLength(4);
        Assert.That(() => file.Read(1, new int[2]), Throws.TypeOf<DatasetException>().With.Message.Contains("cut off"));
    }

    [Test]
    public void WriterRefusesWhatNoTokenIs()
    {
        using var writer = new TokenFileWriter(In("a.bin"), 10);
        Assert.That(() => writer.Add([10]), Throws.TypeOf<TokenIdException>());
        Assert.That(() => writer.Add([-1]), Throws.TypeOf<TokenIdException>());
        Assert.That(() => new TokenFileWriter(In("a.tokens"), 10), Throws.ArgumentException);
    }

    private void Make(int[] tokens, int[] ends)
    {
        using var writer = new TokenFileWriter(In("a.bin"), 10);
        for (var i = 0; i < tokens.Length; i++)
        {
            writer.Add([tokens[i]]);
            if (ends.Contains(i + 1)) writer.EndDocument();
        }
        writer.Finish();
    }
}
