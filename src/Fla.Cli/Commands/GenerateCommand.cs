using System.CommandLine;
using System.Globalization;
using Fla.Models;
using Fla.Models.Generation;
using Fla.Models.Tokenizers;
using Fla.Vulkan;

namespace Fla.Cli.Commands;

/// <summary><c>fla generate</c>: continues prompts with a checkpoint.</summary>
internal static class GenerateCommand
{
    private static readonly Argument<string> Folder = ModelOptions.Folder("Model folder: config.json, model.safetensors or pytorch_model.bin or shards of one, tokenizer.json if it has one");
    private static readonly Option<string[]> Prompts = new("--prompt", "-p")
    {
        Description = "Text to continue; several make a batch (default: the empty text)",
        HelpName = "TEXT",
    };
    private static readonly Option<string[]> PromptIds = new("--prompt-ids")
    {
        Description = "Token ids to continue, such as \"5 17 3\", instead of text; new ids are printed",
        HelpName = "IDS",
    };
    private static readonly Option<int> MaxNewTokens = new("--max-new-tokens", "-n")
    {
        Description = "At most so many new tokens",
        DefaultValueFactory = _ => 128, HelpName = "N",
    };
    private static readonly Option<bool> Greedy = new("--greedy") { Description = "Take the likeliest token instead of drawing" };
    private static readonly Option<double> Temperature = new("--temperature")
    {
        Description = "Divisor of the logits",
        DefaultValueFactory = _ => 0.8, HelpName = "X",
    };
    private static readonly Option<int?> TopK = new("--top-k") { Description = "Draw from the K likeliest tokens only", HelpName = "K" };
    private static readonly Option<double> TopP = new("--top-p")
    {
        Description = "Draw from the likeliest tokens that together have probability P",
        DefaultValueFactory = _ => 0.95, HelpName = "P",
    };
    private static readonly Option<double> RepetitionPenalty = new("--repetition-penalty")
    {
        Description = "Above 1 makes tokens of the text so far less likely",
        DefaultValueFactory = _ => 1, HelpName = "X",
    };
    private static readonly Option<ulong> Seed = new("--seed") { Description = "Seed of the draws", DefaultValueFactory = _ => 0, HelpName = "S" };
    private static readonly Option<string[]> Stop = new("--stop")
    {
        Description = "Text of one token that ends a text, besides the model's own",
        HelpName = "TEXT",
    };
    private static readonly Option<DType?> Type = ModelOptions.Type("Float type of weights and activations (default: the checkpoint's)");

    public static Command Create(Terminal terminal)
    {
        var command = new Command("generate", "Continues prompts with a checkpoint, streamed.")
        {
            Folder, Prompts, PromptIds, MaxNewTokens, Greedy, Temperature, TopK, TopP, RepetitionPenalty, Seed, Stop, Type,
        };
        command.Validators.Add(result =>
        {
            if (result.GetResult(Prompts) != null && result.GetResult(PromptIds) != null) result.AddError("give --prompt or --prompt-ids, not both");
        });
        command.SetAction(parsed => FlaTool.Cancellable(cancellation => Run(terminal, parsed, cancellation)));
        return command;
    }

    private static int Run(Terminal terminal, ParseResult parsed, CancellationToken cancellation)
    {
        using var device = ComputeDevice.Create(FlaTool.DeviceOptions(parsed));
        var folder = parsed.GetValue(Folder)!;
        var tokenizer = parsed.GetResult(PromptIds) != null ? null : TextTokenizer.Load(folder);
        using var model = CausalLM.FromPretrained(folder, device, parsed.GetValue(Type));
        if (tokenizer is ByteTokenizer && model.Config.VocabSize < tokenizer.VocabSize)
        {
            throw new GenerationException(
                $"{folder} has no tokenizer.json, and bytes need a vocabulary of {tokenizer.VocabSize} where the model has {model.Config.VocabSize}: give --prompt-ids");
        }
        var texts = parsed.GetValue(Prompts) is { Length: > 0 } given ? given : [""];
        var prompts = tokenizer == null ? parsed.GetValue(PromptIds)!.Select(ParseIds).ToArray() : texts.Select(t => tokenizer.Encode(t)).ToArray();
        var options = new GenerationOptions
        {
            MaxNewTokens = parsed.GetValue(MaxNewTokens),
            DoSample = !parsed.GetValue(Greedy),
            Temperature = parsed.GetValue(Temperature),
            TopK = parsed.GetValue(TopK),
            TopP = parsed.GetValue(TopP),
            RepetitionPenalty = parsed.GetValue(RepetitionPenalty),
            Seed = parsed.GetValue(Seed),
            StopTokens = StopTokens(parsed.GetValue(Stop) ?? [], model, tokenizer),
        };
        var stream = new TextStream(terminal, tokenizer, tokenizer == null ? null : texts);
        new Generator(model).Generate(prompts, options, stream.Push, cancellation);
        stream.Finish();
        cancellation.ThrowIfCancellationRequested();
        return 0;
    }

    private static int[] ParseIds(string text)
    {
        var parts = text.Split([' ', ','], StringSplitOptions.RemoveEmptyEntries);
        return Array.ConvertAll(parts, part => int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var id)
            ? id : throw new GenerationException($"'{part}' in --prompt-ids is no token id"));
    }

    private static List<int> StopTokens(string[] texts, CausalLM model, TextTokenizer? tokenizer)
    {
        var stops = new List<int>();
        if (model.Config.EosTokenId is { } eos) stops.Add(eos);
        foreach (var text in texts)
        {
            if (tokenizer == null) throw new GenerationException("--stop is text, which --prompt-ids does without");
            var ids = tokenizer.Encode(text, addSpecialTokens: false);
            stops.Add(ids.Length == 1 ? ids[0] : throw new GenerationException($"--stop '{text}' is {ids.Length} tokens: it must be one"));
        }
        return stops;
    }
}
