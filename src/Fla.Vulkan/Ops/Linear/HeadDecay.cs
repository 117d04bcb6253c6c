namespace Fla.Vulkan.Ops;

/// <summary>A constant log decay of every head: a tensor [H], or a formula that kernels evaluate themselves (shaders/linear/decay.glsl).</summary>
/// <param name="Gamma">fp32 [H], or null.</param>
/// <param name="Kind">Without a tensor: −<paramref name="Kind"/>·h for head h, so 0 is no decay; negative for retention's.</param>
internal readonly record struct HeadDecay(Tensor? Gamma, float Kind = 0)
{
    /// <summary>ln(1 − 2^(−5−h)).</summary>
    public static HeadDecay Retention => new(null, -1);

    /// <summary>−(8/H)(1 − layerIdx/numLayers)·h.</summary>
    public static HeadDecay Lightning(int heads, int layerIdx, int numLayers) => new(null, (float)(8.0 / heads * (1 - (double)layerIdx / numLayers)));

    /// <summary>False when states are kept as they are.</summary>
    public bool IsGiven => Gamma is not null || Kind != 0;
}
