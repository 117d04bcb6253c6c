namespace Fla.Vulkan.Ops;

public static partial class DeltaOps
{
    /// <summary>The log decay of the gated delta rule from raw gates: −e^aLog · softplus(g + dtBias).</summary>
    /// <param name="g">Raw gates [B,T,HV], any float type.</param>
    /// <param name="aLog">[HV], any float type.</param>
    /// <param name="dtBias">[HV], any float type; 0 when null.</param>
    /// <returns>fp32 [B,T,HV].</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">Integers.</exception>
    public static Tensor GdnGate(Tensor g, Tensor aLog, Tensor? dtBias = null)
    {
        Require.Rank(g, 3, "g");
        ArgumentNullException.ThrowIfNull(aLog);
        return Gate(g, aLog, dtBias, null);
    }

    /// <summary>The log decay of Kimi delta attention from raw gates: −e^aLog · softplus(g + dtBias), or lowerBound · σ(e^aLog (g + dtBias)).</summary>
    /// <param name="g">Raw gates [B,T,HV,K], any float type.</param>
    /// <param name="aLog">[HV], any float type; may be null (0) with <paramref name="lowerBound"/>.</param>
    /// <param name="dtBias">[HV·K] or [HV,K], any float type; 0 when null.</param>
    /// <param name="lowerBound">Least log decay, below 0; null for the unbounded form.</param>
    /// <returns>fp32 [B,T,HV,K].</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">Integers.</exception>
    /// <exception cref="ArgumentException">Neither aLog nor lowerBound, or a lowerBound that is not negative.</exception>
    public static Tensor KdaGate(Tensor g, Tensor? aLog, Tensor? dtBias = null, float? lowerBound = null)
    {
        Require.Rank(g, 4, "g");
        return Gate(g, aLog, dtBias, lowerBound);
    }

    private static Tensor Gate(Tensor g, Tensor? aLog, Tensor? dtBias, float? lowerBound)
    {
        Require.SameDevice(g, aLog, dtBias);
        Require.Float(g, "g");
        new DeltaActivations(false, UseGate: true, aLog, dtBias, lowerBound).Check(g.Size(2), g, g.Rank == 4 ? g.Size(3) : null);
        return RawGate.Run(g, aLog, dtBias, lowerBound);
    }
}
