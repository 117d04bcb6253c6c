namespace Fla.Layers;

/// <summary>Form of a recurrence over time: all give the same numbers, at different speed.</summary>
public enum AttnMode
{
    /// <summary>Chunks in parallel over time: training, prompts.</summary>
    Chunk,

    /// <summary>One token after another: short inputs, decoding.</summary>
    FusedRecurrent,

    /// <summary>One chunk after another with the state on chip.</summary>
    FusedChunk,
}

/// <summary>Names of <see cref="AttnMode"/>.</summary>
public static class AttnModes
{
    /// <summary>Inputs of at most so many tokens take the recurrent form unless a mode is forced.</summary>
    public const int RecurrentLength = 64;

    /// <summary>Reads a config's <c>attn_mode</c>; "parallel" means <see cref="AttnMode.Chunk"/>, which computes the same.</summary>
    /// <exception cref="ArgumentException">Another name.</exception>
    public static AttnMode Parse(string name) => name switch
    {
        "chunk" or "parallel" => AttnMode.Chunk,
        "fused_recurrent" => AttnMode.FusedRecurrent,
        "fused_chunk" => AttnMode.FusedChunk,
        _ => throw new ArgumentException($"attn_mode '{name}' is none of chunk, fused_recurrent, fused_chunk, parallel", nameof(name)),
    };
}
