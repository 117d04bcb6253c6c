using System.Diagnostics;
using System.Text.Json;
using Fla.Models.Data;
using Fla.Models.Evaluation;
using Fla.Models.Tokenizers;

namespace Fla.Cli.Training;

/// <summary>
/// What a run learns from. Text is tokenized once, when the run begins, to tokens.bin in the run's folder; from then on the run depends on that file
/// alone, whatever becomes of the text, and another run can be given it as its data. Files of tokens are read where they are.
/// </summary>
internal sealed class TrainingData : IDisposable
{
    private const string ManifestName = "data.json";
    private const string TokensName = "tokens.bin";
    private const string HeldOutName = "held-out.bin";

    /// <summary>Sequences in a block that is held out.</summary>
    private const int HeldOutBlock = 4;

    private static readonly TimeSpan NoteInterval = TimeSpan.FromSeconds(10);
    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, WriteIndented = true };

    private readonly TokenCorpus _corpus;

    private TrainingData(TokenCorpus corpus, TrainSettings settings, string folder, bool isResumed)
    {
        _corpus = corpus;
        var (train, heldOut) = (corpus.All(), (TokenSpans?)null);
        if (settings.HeldOut != 0)
        {
            if (!(settings.HeldOut is > 0 and < 1)) throw new DatasetException($"--held-out is a share from 0 to below 1, not {settings.HeldOut}");
            (train, heldOut) = train.Split(HeldOutBlock * settings.SeqLen, settings.HeldOut, settings.Seed);
        }
        Train = new(corpus, train, settings.SeqLen, checked(settings.BatchSize * settings.SeqLen), settings.Seed);
        if (heldOut == null) return;
        var path = Path.Combine(folder, HeldOutName);
        if (!isResumed || !File.Exists(path)) WriteHeldOut(path, heldOut, settings);
        using var file = TokenFile.Open(path);
        HeldOut = [.. PerplexityEvaluator.Sequences(file.Documents(), settings.SeqLen)];
    }

    /// <summary>Samples to train on.</summary>
    public PackedDataset Train { get; }

    /// <summary>Sequences that are never trained on, those of held-out.bin: what <c>fla eval ppl --by-document</c> reads there.</summary>
    public IReadOnlyList<ReadOnlyMemory<int>> HeldOut { get; } = [];

    /// <summary>One more than the largest token.</summary>
    public int VocabSize => _corpus.VocabSize;

    /// <summary>Whether a run's data has, or had, text in it, for which a tokenizer is needed.</summary>
    public static bool HasText(TrainSettings settings, string folder, bool isResumed) =>
        isResumed ? File.Exists(Path.Combine(folder, TokensName)) : DataFiles.Find(settings.Data!).Any(file => DataFiles.KindOf(file) != DataKind.Tokens);

    /// <summary>Reads the data of a new run, or finds that of one that goes on.</summary>
    /// <param name="terminal">Told how it goes.</param>
    /// <param name="settings">The run's settings.</param>
    /// <param name="tokenizer">For text; null where there is none.</param>
    /// <param name="folder">The run's folder.</param>
    /// <param name="isResumed">Whether it goes on.</param>
    /// <param name="cancellation">Stops tokenizing.</param>
    /// <exception cref="DatasetException">Files cannot be read, or are not those that the run began with.</exception>
    public static TrainingData Open(Terminal terminal, TrainSettings settings, TextTokenizer? tokenizer, string folder, bool isResumed, CancellationToken cancellation)
    {
        var manifest = isResumed ? Load(folder, settings) : Prepare(terminal, settings, tokenizer, folder, cancellation);
        var files = new List<TokenFile>();
        try
        {
            foreach (var part in manifest.Files)
            {
                files.Add(TokenFile.Open(Path.Combine(folder, part.Path)));
                if (files[^1].Count != part.Tokens) throw new DatasetException($"holds {files[^1].Count} tokens where the run began with {part.Tokens}", part.Path);
            }
            var corpus = new TokenCorpus(files);
            terminal.Note($"{corpus.Count:N0} tokens in {(corpus.Documents == 1 ? "one document" : $"{corpus.Documents:N0} documents")}");
            return new(corpus, settings, folder, isResumed);
        }
        catch
        {
            foreach (var file in files) file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _corpus.Dispose();

    private static Manifest Prepare(Terminal terminal, TrainSettings settings, TextTokenizer? tokenizer, string folder, CancellationToken cancellation)
    {
        var files = DataFiles.Find(settings.Data!);
        var text = files.Where(file => DataFiles.KindOf(file) != DataKind.Tokens).ToList();
        var parts = files.Except(text).Select(file => new Part(Path.GetFullPath(file), 0)).ToList();
        Directory.CreateDirectory(folder);
        if (text.Count > 0)
        {
            Tokenize(terminal, text, settings, tokenizer!, Path.Combine(folder, TokensName), cancellation);
            parts.Insert(0, new(TokensName, 0));
        }
        var manifest = new Manifest(settings.Data!, parts.ConvertAll(part => part with { Tokens = Count(Path.Combine(folder, part.Path)) }));
        File.WriteAllBytes(Path.Combine(folder, ManifestName), JsonSerializer.SerializeToUtf8Bytes(manifest, Json));
        return manifest;
    }

    private static void Tokenize(Terminal terminal, List<string> text, TrainSettings settings, TextTokenizer tokenizer, string path, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        var noted = TimeSpan.Zero;
        var reader = new DocumentReader(settings.TextField);
        using var writer = new TokenFileWriter(path, tokenizer.VocabSize);
        new Tokenization(tokenizer).Write(text.SelectMany(reader.Read), writer, count =>
        {
            if (clock.Elapsed - noted < NoteInterval) return;
            noted = clock.Elapsed;
            terminal.Note($"tokenizing: {count:N0} tokens, {count / noted.TotalSeconds:N0} a second");
        }, cancellation);
        writer.Finish();
    }

    private static Manifest Load(string folder, TrainSettings settings)
    {
        var path = Path.Combine(folder, ManifestName);
        try
        {
            var manifest = JsonSerializer.Deserialize<Manifest>(File.ReadAllBytes(path), Json);
            if (manifest?.Files == null || manifest.Files.Any(part => part?.Path == null)) throw new DatasetException("names no files", path);
            return manifest.Data == settings.Data ? manifest
                : throw new DatasetException($"the run learns from {manifest.Data}: for other data, begin a run from its checkpoint with --init");
        }
        catch (JsonException error)
        {
            throw new DatasetException(error.Message, path, error);
        }
    }

    private static long Count(string path)
    {
        using var file = TokenFile.Open(path);
        return file.Count;
    }

    /// <summary>Writes as many sequences as an evaluation takes, from all over what is held out.</summary>
    private void WriteHeldOut(string path, TokenSpans heldOut, TrainSettings settings)
    {
        var sequences = new List<(long Start, int Length)>();
        for (var i = 0; i < heldOut.Count; i++)
        {
            var (start, length) = heldOut[i];
            for (long at = 0; at + 1 < length; at += settings.SeqLen) sequences.Add((start + at, (int)Math.Min(settings.SeqLen, length - at)));
        }
        var wanted = (double)settings.HeldOutWindows * settings.SeqLen / Math.Max(1, heldOut.Tokens);
        var taken = (int)Math.Clamp(Math.Round(sequences.Count * wanted), Math.Min(1, sequences.Count), sequences.Count);
        using var writer = new TokenFileWriter(path, _corpus.VocabSize);
        for (var i = 0; i < taken; i++)
        {
            var (start, length) = sequences[(int)((long)i * sequences.Count / taken)];
            var tokens = new int[length];
            _corpus.Read(start, tokens);
            writer.Add(tokens);
            writer.EndDocument();
        }
        writer.Finish();
    }

    /// <summary>What a run began with: what --data named, and the files of tokens that came of it.</summary>
    private sealed record Manifest(string Data, List<Part> Files);

    /// <summary>A file of tokens; its path is the run's folder's, unless it is a whole one.</summary>
    private sealed record Part(string Path, long Tokens);
}
