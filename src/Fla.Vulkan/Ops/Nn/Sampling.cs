namespace Fla.Vulkan.Ops;

/// <summary>The largest of many logits.</summary>
public static class Sampling
{
    /// <summary>Up to here <see cref="TopK"/> runs on the device.</summary>
    public const int MaxDeviceK = 64;

    private static readonly Kernel<Args> Kernel = new("sample/top_k");

    private readonly record struct Args(In X, Out Values, Out Indices, uint Rows, uint Width, uint K, uint Type);

    /// <summary>
    /// The k largest elements along the last axis, in falling order, equal ones by rising index. NaNs are passed over; where fewer than k elements are left the value is −∞ and
    /// the index −1. Not differentiable. More than <see cref="MaxDeviceK"/> are found on the host, which waits for the device and cannot be captured.
    /// </summary>
    /// <param name="x">f32, f16 or bf16 [..., V].</param>
    /// <param name="k">From 1 to V.</param>
    /// <returns>Values f32 [..., k] and their indices i32 [..., k].</returns>
    /// <exception cref="ShapeException">k is not between 1 and V.</exception>
    /// <exception cref="DTypeException">x holds integers.</exception>
    public static (Tensor Values, Tensor Indices) TopK(Tensor x, int k)
    {
        Require.Float(x, "x");
        Require.That(x.Rank > 0 && k >= 1 && k <= x.Size(-1), $"there are no {k} largest elements along the last axis of {x.Describe()}");
        int[] shape = [.. x.Shape[..^1], k];
        var values = Tensor.Empty(x.Device, DType.Float32, shape);
        var indices = Tensor.Empty(x.Device, DType.Int32, shape);
        var rows = RowLayout.RowCount(x);
        if (rows == 0) return (values, indices);
        if (k <= MaxDeviceK)
        {
            Kernel.Launch(x.Device, new(x, values, indices, RowLayout.Index(rows, x), (uint)x.Size(-1), (uint)k, RowLayout.TypeCode(x)), Grid.Linear(rows), null, RowLayout.Workgroup);
        }
        else OnHost(x.ToSingle(), x.Size(-1), k, values, indices);
        return (values, indices);
    }

    private static void OnHost(float[] x, int width, int k, Tensor values, Tensor indices)
    {
        var rows = x.Length / width;
        var most = new float[rows * k];
        var places = new int[rows * k];
        var order = new int[width];
        for (var row = 0; row < rows; row++)
        {
            var start = row * width;
            var count = 0;
            for (var i = 0; i < width; i++)
            {
                if (!float.IsNaN(x[start + i])) order[count++] = i;
            }
            order.AsSpan(0, count).Sort((i, j) => x[start + i] == x[start + j] ? i.CompareTo(j) : x[start + j].CompareTo(x[start + i]));
            for (var i = 0; i < k; i++)
            {
                most[(row * k) + i] = i < count ? x[start + order[i]] : float.NegativeInfinity;
                places[(row * k) + i] = i < count ? order[i] : -1;
            }
        }
        values.Write(most);
        indices.Write(places);
    }
}
