namespace Fla.Vulkan.Ops;

/// <summary>The log decays of key channels as the recurrence makes them itself: logσ(W·x + b) / normalizer (Yang et al. 2023). Without gradients.</summary>
/// <param name="Input">x [B,T,R], R a multiple of 4 and at most 64.</param>
/// <param name="Weight">W [H·K, R], of x's type.</param>
/// <param name="Bias">b [H·K], of x's type.</param>
/// <param name="Normalizer">Divisor of the log gates.</param>
public readonly record struct LowRankGate(Tensor Input, Tensor Weight, Tensor Bias, float Normalizer)
{
    private const int MaxRank = 64;
    private const int Quad = 4;

    internal int Rank => Input.Size(-1);

    /// <summary>Whether a recurrence can make these gates.</summary>
    public bool IsTaken => Autograd.IsInference && Rank % Quad == 0 && Rank is > 0 and <= MaxRank && Input.Address % Bytes == 0 && Weight.Address % Bytes == 0;

    private ulong Bytes => (ulong)(Quad * Input.DType.Size());

    /// <exception cref="ShapeException">Shapes that do not fit, or another rank.</exception>
    /// <exception cref="DTypeException">Types differ.</exception>
    internal void Check(LinearShape shape, DType type)
    {
        foreach (var (tensor, name) in new[] { (Input, "the gate's input"), (Weight, "the gate's weight"), (Bias, "the gate's bias") }) Require.Type(tensor, type, name);
        Require.Shape(Input, "the gate's input", shape.B, shape.T, Rank);
        Require.Shape(Weight, "the gate's weight", shape.H * shape.K, Rank);
        Require.Shape(Bias, "the gate's bias", shape.H * shape.K);
        Require.That(Rank % Quad == 0 && Rank is > 0 and <= MaxRank, $"a gate's rank inside of the recurrence is a multiple of {Quad} up to {MaxRank}, not {Rank}");
    }
}
