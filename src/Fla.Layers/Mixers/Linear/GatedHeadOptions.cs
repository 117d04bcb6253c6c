namespace Fla.Layers;

/// <summary>Settings of mixers with a gated output and optional short convolutions.</summary>
public abstract record GatedHeadOptions : HeadOptions
{
    /// <summary>Whether q, k and v pass a short convolution.</summary>
    public bool UseShortConv { get; init; }

    /// <summary>Kernel width of the convolutions.</summary>
    public int ConvSize { get; init; } = 4;

    /// <summary>Whether the convolutions have a bias.</summary>
    public bool ConvBias { get; init; }

    /// <summary>Whether the normed output is multiplied by a gate.</summary>
    public bool UseOutputGate { get; init; } = true;

    /// <summary>Activation of that gate.</summary>
    public string GateFn { get; init; } = "swish";

    /// <summary>Whether norm and gate are one operation, which also names the weight g_norm_swish_gate instead of g_norm.</summary>
    public bool FuseNorm { get; init; } = true;
}
