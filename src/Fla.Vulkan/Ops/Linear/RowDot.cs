namespace Fla.Vulkan.Ops;

/// <summary>Dot products along one axis of pairs of tensors, x·xWeight − z·zWeight, in fp32 (shaders/linear/row_dot.comp).</summary>
internal static class RowDot
{
    private const int RowsPerWorkgroup = 8;

    private static readonly Kernel<Args> Kernel = new("linear/row_dot");

    private readonly record struct Args(In X, In XWeight, In Z, In ZWeight, Out Y, uint Results, uint Width, uint Inner);

    /// <summary>Sums over the middle axis of [outer, width, inner]; weights are fp32, none is 1. Gives fp32 [outer, inner].</summary>
    public static Tensor Of(Tensor x, Tensor? xWeight, int outer, int width, int inner = 1, Tensor? z = null, Tensor? zWeight = null)
    {
        var y = Tensor.Empty(x.Device, DType.Float32, outer, inner);
        Kernel.Launch(x.Device, new(x, xWeight, z, zWeight, y, (uint)(outer * inner), (uint)width, (uint)inner),
            Grid.Over((long)outer * inner, RowsPerWorkgroup), x.DType.Variant(), 32 * RowsPerWorkgroup);
        return y;
    }
}
