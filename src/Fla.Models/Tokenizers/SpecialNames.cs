namespace Fla.Models.Tokenizers;

/// <summary>What tokenizer_config.json adds to tokenizer.json: which tokens begin, end and pad a text.</summary>
internal sealed class SpecialNames
{
    private readonly bool? _addsBos;
    private readonly bool? _addsEos;

    /// <summary>Nothing is known.</summary>
    public SpecialNames()
    {
    }

    /// <summary>Reads the root of tokenizer_config.json.</summary>
    public SpecialNames(TokenizerPart root)
    {
        Bos = ReadToken(root["bos_token"]);
        Eos = ReadToken(root["eos_token"]);
        Pad = ReadToken(root["pad_token"]);

        // transformers' Llama classes build their template from these two, whatever tokenizer.json says.
        if (root["tokenizer_class"].StringOrNull()?.StartsWith("Llama", StringComparison.Ordinal) == true)
        {
            _addsBos = root["add_bos_token"].IsNull ? null : root["add_bos_token"].Bool(absent: false);
            _addsEos = root["add_eos_token"].IsNull ? null : root["add_eos_token"].Bool(absent: false);
        }
    }

    /// <summary>The token that begins a text, or null.</summary>
    public string? Bos { get; }

    /// <summary>The token that ends a text, or null.</summary>
    public string? Eos { get; }

    /// <summary>The token that pads a text, or null.</summary>
    public string? Pad { get; }

    /// <summary>Refuses a template that says something else.</summary>
    public void CheckAgainst(PostProcessor template)
    {
        if (_addsBos is { } bos && bos != template.Before.Length > 0)
        {
            throw new TokenizerException("disagrees with the template of tokenizer.json", "add_bos_token");
        }

        if (_addsEos is { } eos && eos != template.After.Length > 0)
        {
            throw new TokenizerException("disagrees with the template of tokenizer.json", "add_eos_token");
        }
    }

    private static string? ReadToken(TokenizerPart part) => part.IsNull || part.IsString ? part.StringOrNull() : part["content"].String();
}
