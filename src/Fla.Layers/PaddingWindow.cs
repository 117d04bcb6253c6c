using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>The part of a padding mask that a layer sees, as what is needed to drop padding and to put it back.</summary>
public sealed class PaddingWindow : IDisposable
{
    private readonly Tensor _toPacked;
    private readonly Tensor _toPadded;
    private readonly Tensor _weights;

    internal PaddingWindow(ComputeDevice device, int rows, int length, bool[] valid)
    {
        Rows = rows;
        Length = length;
        var packed = new List<int>();
        var padded = new int[valid.Length];
        var boundaries = new int[rows + 1];
        for (var i = 0; i < valid.Length; i++)
        {
            padded[i] = valid[i] ? packed.Count : -1;
            if (valid[i]) packed.Add(i);
            boundaries[(i / length) + 1] = packed.Count;
        }
        _toPacked = Tensor.FromInt32(device, packed.ToArray(), packed.Count).Own();
        _toPadded = Tensor.FromInt32(device, padded, padded.Length).Own();
        _weights = Tensor.From(device, Array.ConvertAll(valid, isToken => isToken ? 1f : 0f), [valid.Length]).Own();
        CuSeqlens = new(device, boundaries);
    }

    /// <summary>B.</summary>
    public int Rows { get; }

    /// <summary>T.</summary>
    public int Length { get; }

    /// <summary>Boundaries of the rows once they are packed.</summary>
    public CuSeqlens CuSeqlens { get; }

    /// <summary>Gathers the tokens: [B, T, D] to [1, ΣT, D].</summary>
    public Tensor Unpad(Tensor x) => Gather(x, _toPacked, 1, CuSeqlens.Length);

    /// <summary>Scatters packed tokens to their places, with zeros at padded ones: [1, ΣT, D] to [B, T, D].</summary>
    public Tensor Pad(Tensor x) => Gather(x, _toPadded, Rows, Length);

    /// <summary>Zeros at padded positions of [B, T, ...].</summary>
    public Tensor Mask(Tensor x)
    {
        ArgumentNullException.ThrowIfNull(x);
        var shape = new int[x.Rank];
        shape.AsSpan().Fill(1);
        (shape[0], shape[1]) = (Rows, Length);
        using var weights = _weights.View(shape);
        return Elementwise.Mul(x, weights);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _toPacked.Dispose();
        _toPadded.Dispose();
        _weights.Dispose();
        CuSeqlens.Dispose();
    }

    private static Tensor Gather(Tensor x, Tensor indices, int rows, int length)
    {
        using var flat = x.View(-1, x.Size(-1));
        using var gathered = Embeddings.Lookup(flat, indices);
        return gathered.View(rows, length, x.Size(-1));
    }
}
