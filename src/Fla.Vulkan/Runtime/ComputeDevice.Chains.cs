using Fla.Vulkan.Ops;

namespace Fla.Vulkan;

public sealed unsafe partial class ComputeDevice
{
    private static readonly Kernel<ChainArgs> ChainProbe = new("probe/matrix_chain");

    private readonly HashSet<DType> _chained = [];

    private readonly record struct ChainArgs(Out Chained);

    /// <summary>
    /// Whether a subgroup may hand an accumulator of a product on as an operand of the next one, component by component, in its registers: what Vulkan leaves to the
    /// driver, so a kernel tries it when the device is opened (shaders/probe/matrix_chain.comp). FLA_DISABLE=matrix_chain says no.
    /// </summary>
    /// <param name="type">Storage type of the operands.</param>
    public bool HasMatrixChain(DType type) => _chained.Contains(type);

    private void ProbeChains()
    {
        if (_memoryType is null || Options.Disable.Contains("matrix_chain")) return;
        foreach (var type in new[] { DType.Float16, DType.BFloat16 })
        {
            if (MatrixShape(type) is not { } shape || shape.M != shape.N || shape.N != shape.K) continue;
            using var chained = Tensor.Empty(this, DType.Int32, 1);
            ChainProbe.Launch(this, new(chained), new(1), $"{type.Variant()},MM=coopmat", TileProduct.Spec(this, type, shape.M, shape.N, (uint)SubgroupSize));
            if (chained.ToInt32()[0] == 1) _chained.Add(type);
        }
    }
}
