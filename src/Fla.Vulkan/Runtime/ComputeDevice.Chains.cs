using System.Collections.Concurrent;
using Fla.Vulkan.Ops;

namespace Fla.Vulkan;

public sealed unsafe partial class ComputeDevice
{
    private static readonly Kernel<ChainArgs> ChainProbe = new("probe/matrix_chain");
    private static readonly ConcurrentDictionary<(string Device, string Driver, string Disabled), DType[]> KnownChains = [];

    private DType[] _chained = [];

    private readonly record struct ChainArgs(Out Chained);

    /// <summary>
    /// Whether a subgroup may hand an accumulator of a product on as an operand of the next one, component by component, in its registers: what Vulkan leaves to the
    /// driver, so a kernel tries it when such a device is first opened (shaders/probe/matrix_chain.comp). FLA_DISABLE=matrix_chain says no.
    /// </summary>
    /// <param name="type">Storage type of the operands.</param>
    public bool HasMatrixChain(DType type) => _chained.Contains(type);

    /// <summary>Types with chains, tried once a process and driver, on a device of its own that goes again.</summary>
    private static DType[] Chains(DeviceInfo info, DeviceOptions options)
    {
        if (options.Disable.Contains("matrix_chain") || info.Features is { MatrixFloat16: null, MatrixBFloat16: null } || !ShaderLibrary.HasCooperativeMatrix) return [];
        return KnownChains.GetOrAdd((info.Name, info.Driver, string.Join(',', options.Disable)), _ =>
        {
            using var device = new ComputeDevice(VulkanInstance.Acquire(), info, options);
            return device._memoryType is null ? [] : new[] { DType.Float16, DType.BFloat16 }.Where(device.TryChain).ToArray();
        });
    }

    private bool TryChain(DType type)
    {
        if (MatrixShape(type) is not { } shape || shape.M != shape.N || shape.N != shape.K) return false;
        using var chained = Tensor.Empty(this, DType.Int32, 1);
        ChainProbe.Launch(this, new(chained), new(1), $"{type.Variant()},MM=coopmat", TileProduct.Spec(this, type, shape.M, shape.N, (uint)SubgroupSize));
        return chained.ToInt32()[0] == 1;
    }
}
