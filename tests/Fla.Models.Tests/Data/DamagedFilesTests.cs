using System.Diagnostics;
using System.Text;
using Fla.Models.Data;
using Fla.Testing;
using NUnit.Framework;

namespace Fla.Models.Tests.Data;

/// <summary>Readers of datasets, fed with damaged files: documents or the typed error, quickly, in little memory.</summary>
public sealed class DamagedFilesTests : DataFolder
{
    private const int Inputs = 1000;
    private const long MaxBytesPerInput = 64 << 20;
    private static readonly TimeSpan MaxTimePerInput = TimeSpan.FromSeconds(5);

    [Test]
    public void Parquet()
    {
        var seeds = new[] { "snappy", "zstd", "gzip" }.Select(name => File.ReadAllBytes(Golden.Path($"parquet/documents-{name}.parquet"))).ToArray();
        Run(seeds, "a.parquet", () => new DocumentReader().Read(In("a.parquet")).Count());
    }

    [Test]
    public void JsonLines()
    {
        byte[][] seeds = [Encoding.UTF8.GetBytes("{ \"text\": \"one\\ntwo é\", \"id\": 1 }\n{ \"id\": [1, { \"text\": 2 }], \"text\": \"three\" }\n")];
        Run(seeds, "a.jsonl", () => new DocumentReader().Read(In("a.jsonl")).Count());
    }

    [Test]
    public void DescriptionOfTokens()
    {
        MakeTokens();
        byte[][] seeds = [File.ReadAllBytes(In("a.json")), Encoding.UTF8.GetBytes("""{ "dtype": "u32", "vocab_size": 300, "end_token": 2 }""")];
        Run(seeds, "a.json", CountTokens);
    }

    [Test]
    public void EndsOfDocuments()
    {
        MakeTokens();
        Run([File.ReadAllBytes(In("a.ends"))], "a.ends", CountTokens);
    }

    private void MakeTokens()
    {
        using var writer = new TokenFileWriter(In("a.bin"), 300);
        for (var i = 1; i < 9; i++)
        {
            writer.Add([.. Enumerable.Range(0, i)]);
            writer.EndDocument();
        }
        writer.Finish();
    }

    private int CountTokens()
    {
        using var file = TokenFile.Open(In("a.bin"));
        return file.Documents().Sum(document => document.Length);
    }

    private void Run(byte[][] seeds, string name, Func<int> read)
    {
        var mutator = new Mutator(seed: 7);
        var (accepted, clock) = (0, new Stopwatch());
        for (var i = 0; i < Inputs; i++)
        {
            var bytes = mutator.Next(seeds);
            File.WriteAllBytes(In(name), bytes);
            var allocated = GC.GetAllocatedBytesForCurrentThread();
            clock.Restart();
            try
            {
                read();
                accepted++;
            }
            catch (DatasetException)
            {
                // What a damaged file should give.
            }
            catch (Exception error)
            {
                Assert.Fail($"input {i} ({Convert.ToBase64String(bytes)}) gave {error}");
            }
            Assert.That(clock.Elapsed, Is.LessThan(MaxTimePerInput), $"input {i}: {Convert.ToBase64String(bytes)}");
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - allocated, Is.LessThan(MaxBytesPerInput), $"input {i}: {Convert.ToBase64String(bytes)}");
        }
        Assert.That(accepted, Is.InRange(Inputs / 200, Inputs * 9 / 10), "the damage should neither spare nor kill every file");
    }
}
