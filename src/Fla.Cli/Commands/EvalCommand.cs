using System.CommandLine;
using System.Diagnostics;
using System.Text.Json.Nodes;
using Fla.Models;
using Fla.Models.Data;
using Fla.Models.Evaluation;
using Fla.Models.Tokenizers;
using Fla.Vulkan;
using Spectre.Console;

namespace Fla.Cli.Commands;

/// <summary><c>fla eval ppl</c>: perplexity of a checkpoint on text, by position.</summary>
internal static class EvalCommand
{
    private const int DefaultBlockSize = 28672;
    private const int DefaultBucketSize = 2048;

    private static readonly TimeSpan NoteInterval = TimeSpan.FromSeconds(10);

    private static readonly Argument<string> Folder = ModelOptions.Folder("Model folder: config.json, model.safetensors or pytorch_model.bin or shards of one, tokenizer.json if it has one");
    private static readonly Option<string> Data = new("--data")
    {
        Description = "Text file, .jsonl, .parquet, tokens (.bin), or a folder of any of them",
        HelpName = "FILE|DIR", Required = true,
    };
    private static readonly Option<string> Field = new("--text-field")
    {
        Description = "Field of .jsonl, or column of .parquet, that holds the text",
        DefaultValueFactory = _ => DocumentReader.DefaultField, HelpName = "NAME",
    };
    private static readonly Option<string?> Tokenizer = new("--tokenizer") { Description = "Folder with a tokenizer.json (default: the model's)", HelpName = "DIR" };
    private static readonly Option<int> BlockSize = new("--block-size")
    {
        Description = "Tokens that are read from an empty memory: all text one after the other is cut into blocks of so many",
        DefaultValueFactory = _ => DefaultBlockSize, HelpName = "N",
    };
    private static readonly Option<int> BucketSize = new("--bucket-size")
    {
        Description = "Positions of a block whose perplexity is told together",
        DefaultValueFactory = _ => DefaultBucketSize, HelpName = "N",
    };
    private static readonly Option<int> BatchSize = new("--batch-size") { Description = "Blocks in a forward pass", DefaultValueFactory = _ => 1, HelpName = "N" };
    private static readonly Option<int?> MaxBlocks = new("--max-blocks") { Description = "Read no more than so many blocks (default: all)", HelpName = "N" };
    private static readonly Option<bool> ByDocument = new("--by-document")
    {
        Description = "Read every document by itself, as training does, the rest of long ones too; else documents follow one another in a block, as in fla's script",
    };
    private static readonly Option<bool> AsJson = new("--json") { Description = "Print one JSON object instead of a table" };
    private static readonly Option<DType?> Type = ModelOptions.Type("Float type of weights and activations (default: the checkpoint's)");

    static EvalCommand()
    {
        foreach (var (option, least) in new (Option Option, int Least)[] { (BlockSize, 2), (BucketSize, 1), (BatchSize, 1), (MaxBlocks, 1) })
        {
            option.Validators.Add(result =>
            {
                if (result.GetValueOrDefault<int?>() < least) result.AddError($"{option.Name} is at least {least}");
            });
        }
    }

    public static Command Create(Terminal terminal)
    {
        var perplexity = new GroupedCommand("ppl", "Perplexity of text, in all and by position in a block: does the model use what it has read?",
            ("fla eval ppl runs/a/step-001000 --data book.txt --block-size 2048 --bucket-size 256", "does it go down with what was read?"),
            ("fla eval ppl runs/a/step-001000 --data runs/a/held-out.bin --by-document --block-size 512", "what training with --seq-len 512 told"),
            ("fla eval ppl gla-1.3B-100B --data pg19.parquet --dtype bf16 --json", "as fla's evals/ppl.py"));
        perplexity.Add(Folder);
        perplexity.AddGroup("Text", [Data, Field, Tokenizer]);
        perplexity.AddGroup("Measure", [BlockSize, BucketSize, BatchSize, MaxBlocks, ByDocument]);
        perplexity.AddGroup("Form", [Type, AsJson]);
        perplexity.SetAction(parsed => FlaTool.Cancellable(cancellation => Run(terminal, parsed, cancellation)));
        return new("eval", "Measures a checkpoint.") { perplexity };
    }

    private static int Run(Terminal terminal, ParseResult parsed, CancellationToken cancellation)
    {
        var folder = parsed.GetValue(Folder)!;
        var files = DataFiles.Find(parsed.GetValue(Data)!);
        using var device = ComputeDevice.Create(FlaTool.DeviceOptions(parsed));
        using var model = CausalLM.FromPretrained(folder, device, parsed.GetValue(Type));
        var options = new PerplexityOptions { BlockSize = parsed.GetValue(BlockSize), BucketSize = parsed.GetValue(BucketSize), BatchSize = parsed.GetValue(BatchSize) };
        var documents = Documents(files, new(parsed.GetValue(Field)!), () => TextTokenizer.Load(parsed.GetValue(Tokenizer) ?? folder));
        var sequences = parsed.GetValue(ByDocument) ? PerplexityEvaluator.Sequences(documents, options.BlockSize) : PerplexityEvaluator.Blocks(documents, options.BlockSize);
        if (parsed.GetValue(MaxBlocks) is { } most) sequences = sequences.Take(most);
        var result = new PerplexityEvaluator(model, options).Evaluate(sequences, Progress(terminal), cancellation);
        if (result.Tokens == 0) throw new DatasetException("there is no text of even two tokens", parsed.GetValue(Data));
        if (parsed.GetValue(AsJson)) terminal.Writer.WriteLine(Json(result, options).ToJsonString());
        else terminal.Out.Write(Table(result, Path.GetFileName(Path.TrimEndingDirectorySeparator(folder))));
        return 0;
    }

    private static IEnumerable<ReadOnlyMemory<int>> Documents(IEnumerable<string> files, DocumentReader reader, Func<TextTokenizer> load)
    {
        // As fla's script has it, a text ends without an end token.
        var tokenization = new Lazy<Tokenization>(() => new(load(), endsDocuments: false));
        foreach (var file in files)
        {
            if (DataFiles.KindOf(file) == DataKind.Tokens)
            {
                using var tokens = TokenFile.Open(file);
                foreach (var document in tokens.Documents()) yield return document;
            }
            else
            {
                foreach (var part in reader.Read(file)) yield return tokenization.Value.Encode(part);
            }
        }
    }

    private static Action<PerplexityResult> Progress(Terminal terminal)
    {
        var clock = Stopwatch.StartNew();
        var noted = TimeSpan.Zero;
        return result =>
        {
            if (clock.Elapsed - noted < NoteInterval) return;
            noted = clock.Elapsed;
            terminal.Note($"{result.Tokens:N0} tokens, perplexity {result.Perplexity:0.000}");
        };
    }

    private static Table Table(PerplexityResult result, string name)
    {
        var table = Terminal.Table($"Perplexity of {name}", "Positions", "Tokens", "Loss", "Perplexity");
        foreach (var bucket in result.Buckets.Where(bucket => bucket.Tokens > 0))
        {
            table.AddRow($"{bucket.From} to {bucket.To - 1}", $"{bucket.Tokens:N0}", $"{bucket.Loss:0.0000}", $"{bucket.Perplexity:0.000}");
        }
        table.AddRow($"all, in {result.Sequences:N0} sequences", $"{result.Tokens:N0}", $"{result.Loss:0.0000}", $"{result.Perplexity:0.000}");
        return table;
    }

    private static JsonObject Json(PerplexityResult result, PerplexityOptions options) => new()
    {
        ["perplexity"] = result.Perplexity,
        ["loss"] = result.Loss,
        ["tokens"] = result.Tokens,
        ["sequences"] = result.Sequences,
        ["block_size"] = options.BlockSize,
        ["bucket_size"] = options.BucketSize,
        ["buckets"] = new JsonArray([.. result.Buckets.Where(bucket => bucket.Tokens > 0).Select(bucket => new JsonObject
        {
            ["from"] = bucket.From, ["to"] = bucket.To, ["tokens"] = bucket.Tokens, ["loss"] = bucket.Loss, ["perplexity"] = bucket.Perplexity,
        })]),
    };
}
