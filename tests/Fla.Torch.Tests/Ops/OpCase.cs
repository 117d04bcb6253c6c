using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch.Tests.Ops;

/// <summary>How an input is drawn.</summary>
public enum Draw
{
    /// <summary>Normal.</summary>
    Normal,

    /// <summary>Normal, of unit length over the last axis.</summary>
    Unit,

    /// <summary>Log gates, at most 0.</summary>
    LogGate,

    /// <summary>Between 0 and 1.</summary>
    Gate,
}

/// <summary>An operator on TorchSharp tensors beside its definition.</summary>
/// <param name="Name">Its name in fla.</param>
/// <param name="Inputs">Name, draw and shape of each input.</param>
/// <param name="Run">The operator.</param>
/// <param name="Reference">The same in TorchSharp's operations.</param>
public sealed record OpCase(string Name, (string Name, Draw Draw, long[] Shape)[] Inputs, Func<Tensor[], Tensor[]> Run, Func<Tensor[], Tensor[]> Reference)
{
    /// <summary>Whether gradients flow.</summary>
    public bool HasGradients { get; init; } = true;

    /// <summary>Limit of the error ratios.</summary>
    public double Tolerance { get; init; } = 2e-5;

    /// <summary>Fresh inputs.</summary>
    public Tensor[] Make(bool requiresGrad) => [.. Inputs.Select(input => Make(input.Draw, input.Shape).requires_grad_(requiresGrad))];

    /// <inheritdoc/>
    public override string ToString() => Name;

    private static Tensor Make(Draw draw, long[] shape)
    {
        var x = torch.randn(shape);
        return draw switch
        {
            Draw.Unit => x / x.norm(-1, keepdim: true),
            Draw.LogGate => torch.nn.functional.logsigmoid(x),
            Draw.Gate => x.sigmoid(),
            _ => x,
        };
    }
}
