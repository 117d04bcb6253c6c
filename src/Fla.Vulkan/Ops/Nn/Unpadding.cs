namespace Fla.Vulkan.Ops;

/// <summary>
/// The valid tokens of a padded batch as one packed row, and back: what layers do with an attention mask. Holds the row numbers on the device.
/// </summary>
public sealed class Unpadding : IDisposable
{
    private readonly Tensor _packed;
    private readonly Tensor _padded;

    /// <summary>Reads a mask.</summary>
    /// <param name="device">Where the tokens are.</param>
    /// <param name="mask">B·S numbers, row by row: not 0 for a valid token.</param>
    /// <param name="batch">B.</param>
    /// <param name="length">S.</param>
    /// <exception cref="ShapeException">The mask has not B·S elements.</exception>
    public Unpadding(ComputeDevice device, ReadOnlySpan<int> mask, int batch, int length)
    {
        Require.That(mask.Length == (long)batch * length && batch > 0, $"a mask of {mask.Length} elements does not fit {batch} rows of {length} tokens");
        (Batch, Length) = (batch, length);
        var valid = new List<int>();
        var inverse = new int[mask.Length];
        var boundaries = new int[batch + 1];
        for (var i = 0; i < mask.Length; i++)
        {
            inverse[i] = mask[i] == 0 ? -1 : valid.Count;
            if (mask[i] != 0) valid.Add(i);
            boundaries[(i / length) + 1] = valid.Count;
        }
        CuSeqlens = new(device, boundaries);
        _packed = Tensor.FromInt32(device, valid.ToArray(), valid.Count).Own();
        _padded = Tensor.FromInt32(device, inverse, inverse.Length).Own();
    }

    /// <summary>Rows of the padded batch, B.</summary>
    public int Batch { get; }

    /// <summary>Tokens of a padded row, S.</summary>
    public int Length { get; }

    /// <summary>Boundaries of the rows in the packed one.</summary>
    public CuSeqlens CuSeqlens { get; }

    /// <summary>[B, S, ...] to [1, total, ...]: the valid tokens, row after row.</summary>
    /// <exception cref="ShapeException">x has another batch or length.</exception>
    public Tensor Pack(Tensor x)
    {
        Require.That(x.Rank >= 2 && x.Size(0) == Batch && x.Size(1) == Length, $"x needs the shape [{Batch}, {Length}, ...], it is {x.Describe()}");
        return Move("unpad", x, _packed, _padded, [1, (int)_packed.Count, .. x.Shape[2..]]);
    }

    /// <summary>[1, total, ...] to [B, S, ...], with zeros at padded places.</summary>
    /// <exception cref="ShapeException">x has another number of tokens.</exception>
    public Tensor Pad(Tensor x)
    {
        Require.That(x.Rank >= 2 && x.Size(0) == 1 && x.Size(1) == _packed.Count, $"x needs the shape [1, {_packed.Count}, ...], it is {x.Describe()}");
        return Move("pad", x, _padded, _packed, [Batch, Length, .. x.Shape[2..]]);
    }

    /// <summary>Gives the device memory back.</summary>
    public void Dispose()
    {
        CuSeqlens.Dispose();
        _packed.Dispose();
        _padded.Dispose();
    }

    private static Tensor Move(string name, Tensor x, Tensor index, Tensor inverse, ReadOnlySpan<int> shape)
    {
        Require.SameDevice(x, index);
        var y = Rows(x, index, shape);
        if (Autograd.IsRecording(x))
        {
            Autograd.Record(name, [x], [y], [inverse], static (ctx, dy) => [dy[0] is { } given ? Rows(given, ctx.Saved(0)!, ctx.State<int[]>()) : null], x.Shape.ToArray());
        }
        return y;
    }

    private static Tensor Rows(Tensor x, Tensor index, ReadOnlySpan<int> shape)
    {
        Require.Float(x, nameof(x));
        using var table = x.Detach();
        using var matrix = table.View(x.Size(0) * x.Size(1), -1);
        return Embeddings.Rows(matrix, index, shape);
    }
}
