using Fla.Vulkan;

namespace Fla.Models.Generation;

/// <summary>How text is continued. The defaults are greedy.</summary>
public sealed record GenerationOptions
{
    /// <summary>At most so many new tokens for each prompt.</summary>
    public int MaxNewTokens { get; init; } = 128;

    /// <summary>Whether tokens are drawn at random; else the likeliest is taken.</summary>
    public bool DoSample { get; init; }

    /// <summary>Divisor of the logits before drawing.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Draws from so many of the likeliest tokens only; null for all.</summary>
    public int? TopK { get; init; }

    /// <summary>Draws from the likeliest tokens that together have this probability (Holtzman et al. 2019); 1 for all.</summary>
    public double TopP { get; init; } = 1;

    /// <summary>Divides positive logits, and multiplies negative ones, of tokens in the text so far (Keskar et al. 2019); 1 for none. Also without drawing.</summary>
    public double RepetitionPenalty { get; init; } = 1;

    /// <summary>Seed of the draws: the same seed, prompts and device give the same text.</summary>
    public ulong Seed { get; init; }

    /// <summary>Tokens that end a text, and are no part of it; null for the configuration's <c>eos_token_id</c>, empty for none.</summary>
    public IReadOnlyCollection<int>? StopTokens { get; init; }

    /// <summary>Whether the decoding step is captured once and replayed; else each step is recorded anew.</summary>
    public bool UseGraph { get; init; } = true;

    /// <summary>Checks ranges.</summary>
    /// <exception cref="GenerationException">Names the option.</exception>
    internal void Check()
    {
        if (MaxNewTokens < 0) throw new GenerationException($"MaxNewTokens cannot be {MaxNewTokens}");
        if (!(Temperature > 0) || !double.IsFinite(Temperature))
        {
            throw new GenerationException($"Temperature must be positive, not {Temperature}; greedy is DoSample = false");
        }
        if (TopK < 1) throw new GenerationException($"TopK must be at least 1, not {TopK}");
        if (!(TopP > 0 && TopP <= 1)) throw new GenerationException($"TopP lies above 0 and up to 1, not at {TopP}");
        if (!(RepetitionPenalty > 0) || !double.IsFinite(RepetitionPenalty))
        {
            throw new GenerationException($"RepetitionPenalty must be positive, not {RepetitionPenalty}");
        }
    }
}

/// <summary>Prompts or options that nothing can be generated from, or a model that yields no numbers.</summary>
public sealed class GenerationException(string message) : FlaException(message);
