namespace Fla.Testing.References;

/// <summary>A host array of doubles with a shape, row-major.</summary>
public sealed class RefTensor
{
    /// <summary>Wraps <paramref name="data"/>, which is not copied.</summary>
    /// <exception cref="ArgumentException">The shape does not hold as many elements as <paramref name="data"/>.</exception>
    public RefTensor(double[] data, params int[] shape)
    {
        ArgumentNullException.ThrowIfNull(data);
        if (data.Length != Volume(shape))
        {
            throw new ArgumentException($"{data.Length} values do not fill the shape [{string.Join(", ", shape)}].", nameof(data));
        }

        Data = data;
        Shape = shape;
    }

    /// <summary>A copy of <paramref name="data"/>, widened.</summary>
    public RefTensor(float[] data, params int[] shape)
        : this(Array.ConvertAll(data, x => (double)x), shape)
    {
    }

    /// <summary>The elements, last axis fastest.</summary>
    public double[] Data { get; }

    /// <summary>The extents.</summary>
    public int[] Shape { get; }

    /// <summary>Number of elements.</summary>
    public int Length => Data.Length;

    /// <summary>Zeros of a shape.</summary>
    public static RefTensor Zeros(params int[] shape) => new(new double[Volume(shape)], shape);

    /// <summary>The elements rounded to fp32, to be uploaded to a device.</summary>
    public float[] ToFloats() => Array.ConvertAll(Data, x => (float)x);

    /// <summary>A copy with every element rounded to fp16, so that a device storing fp16 sees the same numbers.</summary>
    public RefTensor RoundToHalf() => Map(x => (double)(Half)x);

    /// <summary>A copy with every element rounded to bf16 (ties to even), so that a device storing bf16 sees the same numbers.</summary>
    public RefTensor RoundToBFloat16() => Map(x =>
    {
        uint bits = BitConverter.SingleToUInt32Bits((float)x);
        bits += 0x7FFF + ((bits >> 16) & 1);
        return BitConverter.UInt32BitsToSingle(bits & 0xFFFF0000);
    });

    /// <summary>The same elements under another shape; shares the data.</summary>
    public RefTensor Reshape(params int[] shape) => new(Data, shape);

    /// <summary>A copy with the last two axes exchanged: a state [N,H,K,V] becomes [N,H,V,K].</summary>
    public RefTensor SwapLastAxes()
    {
        int rows = Shape[^2], columns = Shape[^1];
        var result = new double[Length];
        for (int matrix = 0; matrix < Length; matrix += rows * columns)
        {
            for (int i = 0; i < rows; i++)
            {
                for (int j = 0; j < columns; j++)
                {
                    result[matrix + (j * rows) + i] = Data[matrix + (i * columns) + j];
                }
            }
        }

        return new RefTensor(result, [.. Shape[..^2], columns, rows]);
    }

    /// <summary>A copy with <paramref name="f"/> applied to every element.</summary>
    public RefTensor Map(Func<double, double> f) => new(Array.ConvertAll(Data, x => f(x)), Shape);

    internal static int Volume(int[] shape)
    {
        int volume = 1;
        foreach (int extent in shape)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(extent);
            volume = checked(volume * extent);
        }

        return volume;
    }

    internal void Require(string name, params int[] shape)
    {
        if (!Shape.AsSpan().SequenceEqual(shape))
        {
            throw new ArgumentException($"{name} has shape [{string.Join(", ", Shape)}], expected [{string.Join(", ", shape)}].", name);
        }
    }
}
