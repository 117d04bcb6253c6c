namespace Fla.Vulkan.Ops;

/// <summary>
/// Arithmetic element by element, in fp32, stored in the type of the first operand. A second operand may be smaller: aligned at the last
/// axis its sizes are ones, then equal to the first's, then ones (a vector over channels, a number for each head, a number for each row).
/// </summary>
public static class Elementwise
{
    /// <summary>a·x + b·y.</summary>
    /// <param name="x">Any float tensor.</param>
    /// <param name="y">A float tensor that spreads over x.</param>
    /// <param name="a">Factor of x.</param>
    /// <param name="b">Factor of y.</param>
    /// <exception cref="ShapeException">y does not spread over x.</exception>
    /// <exception cref="DTypeException">An operand holds integers.</exception>
    public static Tensor Add(Tensor x, Tensor y, float a = 1, float b = 1) => ElementMap.Run("add", ElementFunction.Add, x, y, a, b);

    /// <summary>x·y.</summary>
    /// <exception cref="ShapeException">y does not spread over x.</exception>
    public static Tensor Mul(Tensor x, Tensor y) => ElementMap.Run("mul", ElementFunction.Mul, x, y);

    /// <summary>x / y.</summary>
    /// <exception cref="ShapeException">y does not spread over x.</exception>
    public static Tensor Div(Tensor x, Tensor y) => ElementMap.Run("div", ElementFunction.Div, x, y);

    /// <summary>scale·x + shift.</summary>
    public static Tensor Affine(Tensor x, float scale, float shift = 0) => ElementMap.Run("affine", ElementFunction.Affine, x, null, scale, shift);

    /// <summary>scale·x.</summary>
    public static Tensor Scale(Tensor x, float scale) => Affine(x, scale);

    /// <summary>eˣ.</summary>
    public static Tensor Exp(Tensor x) => ElementMap.Run("exp", ElementFunction.Exp, x);

    /// <summary>max(x, minimum); no gradient flows where x is below.</summary>
    public static Tensor ClampMin(Tensor x, float minimum) => ElementMap.Run("clamp_min", ElementFunction.ClampMin, x, null, minimum);
}
