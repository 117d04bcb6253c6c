namespace Fla.Layers;

/// <summary>Settings that all mixers share, with fla's names in .NET spelling.</summary>
public abstract record MixerOptions
{
    /// <summary>Form of the recurrence for long inputs: chunk, fused_recurrent, fused_chunk, or (retention) parallel.</summary>
    public string Mode { get; init; } = "chunk";

    /// <summary>Width of input and output, D.</summary>
    public int HiddenSize { get; init; } = 1024;

    /// <summary>Added to mean squares, or to variances.</summary>
    public double NormEps { get; init; } = 1e-5;

    /// <summary>Index of the layer in its model, or null.</summary>
    public int? LayerIdx { get; init; }

    /// <summary>Checks that heads divide widths.</summary>
    /// <exception cref="Vulkan.ShapeException">They do not.</exception>
    internal abstract void Check();
}
