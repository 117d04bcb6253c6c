using System.Text;
using System.Text.Json.Nodes;
using Fla.Models.Data;
using Fla.Models.Tests.Tokenizers;
using Fla.Models.Tokenizers;
using Fla.Testing;
using NUnit.Framework;
using Parquet;
using Parquet.Schema;

namespace Fla.Models.Tests.Data;

public sealed class DocumentReaderTests : DataFolder
{
    [Test]
    public void TextFileIsADocument()
    {
        Assert.That(new DocumentReader().Read(Write("a.txt", "some text\n")), Is.EqualTo(new[] { new TextPart("some text\n") }));
        Assert.That(new DocumentReader().Read(Write("b.txt", "")), Is.Empty);
    }

    [Test]
    public void LongTextComesInPartsThatAreTokenizedAsTheWhole()
    {
        var text = string.Concat(Enumerable.Range(0, 300).Select(i => $"hello world {i}{(i % 7 == 0 ? "\r\n" : "\n")}{(i % 5 == 0 ? "\n" : "")}{(i % 3 == 0 ? "  indented 😀\n" : "")}"));
        foreach (var tokenizer in new TextTokenizer[] { new ByteTokenizer(), Load(SmallTokenizers.ByteLevel()) })
        {
            var tokenization = new Tokenization(tokenizer);
            var parts = new DocumentReader(partLength: 64).Read(Write("a.txt", text)).ToList();
            Assert.That(parts, Has.Count.GreaterThan(50));
            Assert.That(parts.Select(part => (part.IsFirst, part.IsLast)), Is.EqualTo(Enumerable.Range(0, parts.Count).Select(i => (i == 0, i == parts.Count - 1))));
            Assert.That(string.Concat(parts.Select(part => part.Text)), Is.EqualTo(text));
            Assert.That(parts.SelectMany(tokenization.Encode), Is.EqualTo(tokenization.Encode(new(text))), tokenizer.GetType().Name);
        }
    }

    [TestCase(63)]
    [TestCase(64)]
    [TestCase(65)]
    [TestCase(127)]
    [TestCase(128)]
    [TestCase(129)]
    public void PartsNeverCutACharacter(int length)
    {
        var text = "a" + string.Concat(Enumerable.Repeat("😀", length / 2));
        var parts = new DocumentReader(partLength: 64).Read(Write("a.txt", text)).ToList();
        Assert.That(string.Concat(parts.Select(part => part.Text)), Is.EqualTo(text));
        Assert.That(parts.All(part => !char.IsHighSurrogate(part.Text[^1]) && part.Text.Length > 0));
        Assert.That(parts.Count(part => part.IsLast), Is.EqualTo(1));
    }

    [Test]
    public void LinesOfJsonAreDocuments()
    {
        var file = Write("a.jsonl", """
            { "text": "one\ntwo", "id": 1 }

            { "text": "" }
            { "id": 3, "text": "three" }
            """);
        Assert.That(new DocumentReader().Read(file).Select(part => part.Text), Is.EqualTo(new[] { "one\ntwo", "three" }));
        var other = Write("b.jsonl", """{ "content": "four" }""");
        Assert.That(new DocumentReader("content").Read(other).Select(part => part.Text), Is.EqualTo(new[] { "four" }));
        Assert.That(() => new DocumentReader().Read(other).ToList(), Throws.TypeOf<DatasetException>().With.Message.Contains("line 1").And.Message.Contains("b.jsonl"));
    }

    [TestCase("{")]
    [TestCase("[\"text\"]")]
    [TestCase("{ \"text\": 1 }")]
    [TestCase("{ \"text\": \"\\ud800\" }")]
    public void OtherLinesAreTypedErrors(string line)
    {
        var file = Write("a.jsonl", "{ \"text\": \"x\" }\n" + line);
        Assert.That(() => new DocumentReader().Read(file).ToList(), Throws.TypeOf<DatasetException>().With.Message.Contains("line 2"));
    }

    [Test]
    public void BytesThatAreNoTextAreATypedError([Values("a.txt", "a.jsonl")] string name)
    {
        File.WriteAllBytes(In(name), [(byte)'x', 0xFF, 0xFE, (byte)'\n']);
        Assert.That(() => new DocumentReader().Read(In(name)).ToList(), Throws.TypeOf<DatasetException>().With.Message.Contains("UTF-8"));
    }

    /// <summary>Files that Apache Arrow's own library wrote: two row groups of five, dictionaries, one row without a value and one without text.</summary>
    [Test]
    public void RowsOfParquetAreDocuments([Values("snappy", "zstd", "gzip")] string compression)
    {
        var texts = new DocumentReader().Read(Golden.Path($"parquet/documents-{compression}.parquet")).Select(part => part.Text).ToList();
        Assert.That(texts, Is.EqualTo(new[] { 0, 1, 2, 4, 5, 6, 8, 9 }.Select(i => $"document {i} – äöü 😀 " + string.Concat(Enumerable.Repeat("again ", i)))));
    }

    [Test]
    public void ColumnIsChosenByName()
    {
        var file = Golden.Path("parquet/documents-snappy.parquet");
        Assert.That(() => new DocumentReader("content").Read(file).ToList(), Throws.TypeOf<DatasetException>().With.Message.Contains("id, text"));
        Assert.That(() => new DocumentReader("id").Read(file).ToList(), Throws.TypeOf<DatasetException>().With.Message.Contains("not text"));
    }

    [Test]
    public async Task ListOfTextsIsNoText()
    {
        var schema = new ParquetSchema(new DataField<string[]>("text"));
        await using (var stream = File.Create(In("a.parquet")))
        await using (var writer = await ParquetWriter.CreateAsync(schema, stream))
        {
            using var rows = writer.CreateRowGroup();
            await rows.WriteAsync(schema.DataFields[0], (IReadOnlyCollection<string>)["a", "b"], new ReadOnlyMemory<int>([0, 1]));
            rows.CompleteValidate();
        }
        Assert.That(() => new DocumentReader().Read(In("a.parquet")).ToList(), Throws.TypeOf<DatasetException>().With.Message.Contains("not text"));
    }

    [Test]
    public void DamagedParquetIsATypedError()
    {
        var bytes = File.ReadAllBytes(Golden.Path("parquet/documents-snappy.parquet"));
        for (var length = 0; length < bytes.Length; length += 13)
        {
            File.WriteAllBytes(In("a.parquet"), bytes[..length]);
            Assert.That(() => new DocumentReader().Read(In("a.parquet")).ToList(), Throws.TypeOf<DatasetException>(), $"{length} bytes");
        }
    }

    [Test]
    public void FolderMayHoldAnyMix()
    {
        Write("data/b.txt", "text");
        Write("data/a/x.jsonl", """{ "text": "line" }""");
        Write("data/.cache/y.txt", "hidden");
        Write("data/settings.json", "{}");
        using (Numbered("data/tokens.bin", 3)) { }
        File.Copy(Golden.Path("parquet/documents-snappy.parquet"), In("data/c.parquet"));
        var files = DataFiles.Find(In("data"));
        Assert.That(files.Select(file => Path.GetRelativePath(In("data"), file)), Is.EqualTo(new[] { Path.Combine("a", "x.jsonl"), "b.txt", "c.parquet", "settings.json", "tokens.bin" }));
        Assert.That(files.Select(DataFiles.KindOf), Is.EqualTo(new[] { DataKind.JsonLines, DataKind.Text, DataKind.Parquet, DataKind.Text, DataKind.Tokens }));
        Assert.That(() => new DocumentReader().Read(files[^1]), Throws.TypeOf<DatasetException>());
        Assert.That(() => DataFiles.Find(In("nothing")), Throws.TypeOf<DatasetException>().With.Message.Contains("nothing"));
        Directory.CreateDirectory(In("empty"));
        Assert.That(() => DataFiles.Find(In("empty")), Throws.TypeOf<DatasetException>().With.Message.Contains("no files"));
    }

    private TextTokenizer Load(JsonObject tokenizer)
    {
        Write("tokenizer/tokenizer.json", tokenizer.ToJsonString());
        return TextTokenizer.Load(In("tokenizer"));
    }
}
