namespace Fla.Testing.References;

/// <summary>
/// Definitions of the library's operators in double precision, with gradients by automatic differentiation of the given output
/// gradients. An op without any output gradient is only evaluated. Results are named as in <see cref="RefResult.All"/>.
/// </summary>
public static partial class Reference
{
    /// <summary>
    /// Linear attention: <see cref="AddRecurrence"/> without decay. Results "o", "ht", with <paramref name="normalize"/> "zt";
    /// gradients of "q", "k", "v", "h0", "z0".
    /// </summary>
    public static RefResult LinearAttn(
        RefTensor q, RefTensor k, RefTensor v, double? scale = null, RefTensor? initialState = null, RefTensor? initialNormalizer = null,
        bool normalize = true, bool reverse = false, int[]? cuSeqlens = null,
        RefTensor? doutput = null, RefTensor? dfinal = null, RefTensor? dfinalNormalizer = null) =>
        new AddRecurrence
        {
            Q = q, K = k, V = v, Scale = scale, InitialState = initialState, InitialNormalizer = initialNormalizer,
            Normalize = normalize, Reverse = reverse, CuSeqlens = cuSeqlens,
            OutputGradient = doutput, FinalStateGradient = dfinal, FinalNormalizerGradient = dfinalNormalizer,
        }.Run();

    /// <summary>
    /// Scalar decay per token <paramref name="g"/> [B,T,H], or constant per head <paramref name="gamma"/> [H]. Results "o", "ht";
    /// gradients of "q", "k", "v", "g", "h0".
    /// </summary>
    public static RefResult SimpleGla(
        RefTensor q, RefTensor k, RefTensor v, RefTensor? g = null, double[]? gamma = null, double? scale = null,
        RefTensor? initialState = null, bool reverse = false, int[]? cuSeqlens = null,
        RefTensor? doutput = null, RefTensor? dfinal = null) =>
        new AddRecurrence
        {
            Q = q, K = k, V = v, G = g, Gamma = gamma, Scale = scale, InitialState = initialState, Reverse = reverse,
            CuSeqlens = cuSeqlens, OutputGradient = doutput, FinalStateGradient = dfinal,
        }.Run();

    /// <summary>Retention: constant decay ln(1 − 2^(−5−h)) of head h.</summary>
    public static RefResult Retention(
        RefTensor q, RefTensor k, RefTensor v, double? scale = null, RefTensor? initialState = null, bool reverse = false,
        int[]? cuSeqlens = null, RefTensor? doutput = null, RefTensor? dfinal = null) =>
        SimpleGla(q, k, v, null, RetentionDecay(q.Shape[2]), scale, initialState, reverse, cuSeqlens, doutput, dfinal);

    /// <summary>Lightning attention: constant decay −(8/H)(1 − layerIdx/numLayers)·h of head h.</summary>
    public static RefResult LightningAttn(
        RefTensor q, RefTensor k, RefTensor v, int layerIdx, int numLayers, double? scale = null, RefTensor? initialState = null,
        bool reverse = false, int[]? cuSeqlens = null, RefTensor? doutput = null, RefTensor? dfinal = null) =>
        SimpleGla(
            q, k, v, null, LightningDecay(q.Shape[2], layerIdx, numLayers), scale, initialState, reverse, cuSeqlens, doutput, dfinal);

    /// <summary>
    /// Gated linear attention: decay per key channel <paramref name="gk"/> [B,T,H,K], per value channel <paramref name="gv"/>
    /// [B,T,H,V], or both. Results "o", "ht"; gradients of "q", "k", "v", "gk", "gv", "h0".
    /// </summary>
    public static RefResult Gla(
        RefTensor q, RefTensor k, RefTensor v, RefTensor? gk, RefTensor? gv = null, double? scale = null, RefTensor? initialState = null,
        bool reverse = false, int[]? cuSeqlens = null, RefTensor? doutput = null, RefTensor? dfinal = null) =>
        new AddRecurrence
        {
            Q = q, K = k, V = v, Gk = gk, Gv = gv, Scale = scale, InitialState = initialState, Reverse = reverse,
            CuSeqlens = cuSeqlens, OutputGradient = doutput, FinalStateGradient = dfinal,
        }.Run();

    /// <summary>Natural-log decay of each head of retention.</summary>
    public static double[] RetentionDecay(int heads) =>
        [.. Enumerable.Range(0, heads).Select(h => Math.Log(1 - Math.Pow(2, -5 - h)))];

    /// <summary>Natural-log decay of each head of lightning attention.</summary>
    public static double[] LightningDecay(int heads, int layerIdx, int numLayers) =>
        [.. Enumerable.Range(0, heads).Select(h => -(8.0 / heads) * (1 - ((double)layerIdx / numLayers)) * h)];
}
