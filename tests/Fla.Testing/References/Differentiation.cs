namespace Fla.Testing.References;

/// <summary>A tensor of scalars on a tape (or of constants).</summary>
internal sealed record VarTensor(Var[] Data, int[] Shape)
{
    /// <summary>Row <paramref name="index"/> when all but the last axis are taken together.</summary>
    public ReadOnlySpan<Var> Row(int index) => Data.AsSpan(index * Shape[^1], Shape[^1]);
}

/// <summary>
/// One evaluation of a reference: takes inputs as leaves, collects outputs and their given gradients, and hands back the results.
/// Without any output gradient nothing is recorded.
/// </summary>
internal sealed class Differentiation
{
    private readonly Tape? tape;
    private readonly Dictionary<string, VarTensor> inputs = [];
    private readonly Dictionary<string, RefTensor> outputs = [];
    private readonly Dictionary<string, RefTensor?> seeds = [];

    /// <summary>Starts an evaluation; gradients are wanted if any of <paramref name="outputGradients"/> is given.</summary>
    public Differentiation(params RefTensor?[] outputGradients)
    {
        tape = outputGradients.Any(x => x is not null) ? new Tape() : null;
    }

    /// <summary>An input whose gradient is reported under <paramref name="name"/>.</summary>
    public VarTensor Input(string name, RefTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        VarTensor leaves = tape is null ? Constant(tensor) : new VarTensor(Array.ConvertAll(tensor.Data, tape.Leaf), tensor.Shape);
        inputs.Add(name, leaves);
        return leaves;
    }

    /// <summary>An input that may be absent.</summary>
    public VarTensor? OptionalInput(string name, RefTensor? tensor) => tensor is null ? null : Input(name, tensor);

    /// <summary>An input without a gradient.</summary>
    public static VarTensor Constant(RefTensor tensor) => new(Array.ConvertAll(tensor.Data, x => (Var)x), tensor.Shape);

    /// <summary>Declares an output and the gradient of the loss with respect to it, of the same shape.</summary>
    public void Output(string name, RefTensor? gradient, params int[] shape)
    {
        gradient?.Require("gradient of " + name, shape);
        outputs.Add(name, RefTensor.Zeros(shape));
        seeds.Add(name, gradient);
    }

    /// <summary>Sets one element of an output.</summary>
    public void Set(string name, int index, Var value)
    {
        outputs[name].Data[index] = value.Value;
        if (seeds[name] is { } seed)
        {
            tape!.Seed(value, seed.Data[index]);
        }
    }

    /// <summary>Adds to one element of an output, which is a sum over pieces.</summary>
    public void Add(string name, int index, Var value)
    {
        double soFar = outputs[name].Data[index];
        Set(name, index, value);
        outputs[name].Data[index] += soFar;
    }

    /// <summary>Runs each column of every head's state, which depends on no other, as a piece.</summary>
    /// <param name="sequences">N.</param>
    /// <param name="heads">H.</param>
    /// <param name="columns">V.</param>
    /// <param name="run">Of sequence, head and column.</param>
    public void EachColumn(int sequences, int heads, int columns, Action<int, int, int> run)
    {
        for (int n = 0; n < sequences; n++)
        {
            for (int head = 0; head < heads; head++)
            {
                for (int column = 0; column < columns; column++)
                {
                    run(n, head, column);
                    EndPiece();
                }
            }
        }
    }

    /// <summary>Ends a piece: gradients of what was set so far go to the inputs, intermediate values are forgotten.</summary>
    public void EndPiece() => tape?.Backward();

    /// <summary>Ends the last piece and collects everything.</summary>
    public RefResult Result()
    {
        EndPiece();
        Dictionary<string, RefTensor> gradients = [];
        if (tape is not null)
        {
            foreach ((string name, VarTensor leaves) in inputs)
            {
                gradients.Add(name, new RefTensor(Array.ConvertAll(leaves.Data, tape.Gradient), leaves.Shape));
            }
        }

        return new RefResult(outputs, gradients);
    }
}
