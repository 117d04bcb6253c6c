namespace Fla.Models.Tokenizers;

/// <summary>The <c>post_processor</c> of tokenizer.json: ids before and after those of a text.</summary>
internal sealed record PostProcessor(int[] Before, int[] After)
{
    private static readonly PostProcessor Nothing = new([], []);

    /// <summary>Reads and validates the component.</summary>
    /// <exception cref="TokenizerException">Malformed, or not honoured exactly.</exception>
    public static PostProcessor Read(TokenizerPart part)
    {
        if (part.IsNull)
        {
            return Nothing;
        }

        switch (part.Type)
        {
            case "ByteLevel":
                return Nothing; // Changes offsets in the text, not ids.
            case "TemplateProcessing":
                return ReadTemplate(part);
            case "Sequence":
                PostProcessor[] steps = [.. part["processors"].List().Select(Read).Where(step => step != Nothing)];
                return steps.Length switch
                {
                    0 => Nothing,
                    1 => steps[0],
                    _ => throw part.Unsupported("more than one template"),
                };
            default:
                throw part.Unsupported($"the post-processor {part.Type}");
        }
    }

    private static PostProcessor ReadTemplate(TokenizerPart part)
    {
        var before = new List<int>();
        var after = new List<int>();
        var sawText = false;
        foreach (var item in part["single"].List())
        {
            if (!item["SpecialToken"].IsNull)
            {
                var name = item["SpecialToken"]["id"].String();
                (sawText ? after : before).AddRange(part["special_tokens"][name]["ids"].List().Select(id => id.Int()));
            }
            else if (!sawText && item["Sequence"]["id"].String() == "A")
            {
                sawText = true;
            }
            else
            {
                throw item.Unsupported("a template that has not exactly one text A");
            }
        }

        return sawText ? new PostProcessor([.. before], [.. after]) : throw part["single"].Unsupported("a template without the text");
    }
}
