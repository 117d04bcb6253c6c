namespace Fla.Vulkan.Ops;

/// <summary>
/// What RWKV-7 (Peng et al. 2025) does around its recurrence, in fp32, stored in the type of the inputs, with gradients. Mix vectors and factors of channels may
/// have any float type.
/// </summary>
public static partial class Rwkv7Ops
{
    /// <summary>x + (shift(x) − x) ⊙ xk, then relu(z·Wk)²·Wv: the channel mixing.</summary>
    /// <param name="x">[B,T,D].</param>
    /// <param name="xPrev">The input before each row's first token [B,D], any float type.</param>
    /// <param name="xk">Mix vector, D elements.</param>
    /// <param name="kWeight">[D,I], of x's type.</param>
    /// <param name="vWeight">[I,D], of x's type.</param>
    /// <returns>y [B,T,D], and the last input of each row [B,D], which is the next call's <paramref name="xPrev"/>.</returns>
    /// <remarks>fla returns all inputs of the last batch row in place of every row's last input.</remarks>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">Weights of another type than x, or integers.</exception>
    public static (Tensor Y, Tensor Last) ChannelMixing(Tensor x, Tensor xPrev, Tensor xk, Tensor kWeight, Tensor vWeight)
    {
        using var scope = new TensorScope();
        var (delta, last) = TokenShifts.TokenShift(x, null, xPrev, outputCache: true);
        var z = Addcmul.Run(x, delta, [xk], ["xk"])[0];
        var y = Products.MatMul(Activations.SquaredRelu(Products.MatMul(z, kWeight)), vWeight);
        return (scope.Keep(y), scope.Keep(last!));
    }

    /// <summary>x + δ ⊙ x_i for the five or six streams of the time mixing.</summary>
    /// <param name="x">[B,T,D].</param>
    /// <param name="delta">shift(x) − x, of x's shape and type (<see cref="TokenShifts.TokenShift"/>).</param>
    /// <param name="xr">Mix vector, D elements under any shape such as [1,1,D].</param>
    /// <param name="xw">Mix vector.</param>
    /// <param name="xk">Mix vector.</param>
    /// <param name="xv">Mix vector.</param>
    /// <param name="xa">Mix vector.</param>
    /// <param name="xg">Mix vector; null for five streams.</param>
    /// <returns>The streams, of x's shape and type, in the order of their vectors.</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">delta of another type than x, mix vectors of several types, or integers.</exception>
    public static Tensor[] FusedAddcmul(Tensor x, Tensor delta, Tensor xr, Tensor xw, Tensor xk, Tensor xv, Tensor xa, Tensor? xg = null) =>
        Addcmul.Run(x, delta, xg is null ? [xr, xw, xk, xv, xa] : [xr, xw, xk, xv, xa, xg], ["xr", "xw", "xk", "xv", "xa", "xg"]);

    /// <summary>k + k ⊙ (a − 1) ⊙ ka: the keys after the in-context learning rate.</summary>
    /// <param name="k">[B,T,D] or [B,T,H,K].</param>
    /// <param name="a">Of k's shape and type.</param>
    /// <param name="ka">As many elements as k has channels, under any shape such as [1,1,D].</param>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">a of another type than k, or integers.</exception>
    public static Tensor FusedK(Tensor k, Tensor a, Tensor ka) => KeyUpdate.Run(k, a, ka);

    /// <summary>(o + (Σ r ⊙ k ⊙ rk) v) ⊙ g for every head: the bonus of the current token, and the output gate.</summary>
    /// <param name="o">[B,T,H·V].</param>
    /// <param name="r">Receptances [B,T,H,K].</param>
    /// <param name="k">Keys [B,T,H,K].</param>
    /// <param name="rk">[H,K], any float type.</param>
    /// <param name="v">Values [B,T,H,V].</param>
    /// <param name="g">Output gate [B,T,H·V].</param>
    /// <returns>[B,T,H·V].</returns>
    /// <exception cref="ShapeException">Shapes that do not fit together.</exception>
    /// <exception cref="DTypeException">o, r, k, v, g of different types, or integers.</exception>
    public static Tensor GateOutputCorrection(Tensor o, Tensor r, Tensor k, Tensor rk, Tensor v, Tensor g) => GateCorrection.Run(o, r, k, rk, v, g);
}
