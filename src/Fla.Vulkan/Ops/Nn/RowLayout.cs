using System.Numerics;

namespace Fla.Vulkan.Ops;

/// <summary>How row kernels spread over invocations, and how element types reach shaders that take any (shaders/common/anytype.glsl).</summary>
internal static class RowLayout
{
    /// <summary>Invocations of a workgroup of elementwise kernels and reductions.</summary>
    public const int Workgroup = 256;

    private const int PerInvocation = 4;
    private const int Oct = 8;
    private const ulong AccessBytes = 16;

    /// <summary>Invocations of a workgroup of row kernels.</summary>
    public static uint RowWorkgroup(ComputeDevice device) => (uint)device.Tiles["rows", false].Workgroup;

    /// <summary>Invocations for one row: a power of two, four elements each, at most a workgroup; on CPU drivers at most a subgroup, which needs no barriers.</summary>
    public static int Lanes(ComputeDevice device, int width)
    {
        var most = device.IsCpu ? Math.Min(RowWorkgroup(device), (uint)device.SubgroupSize) : RowWorkgroup(device);
        return (int)Math.Min(most, BitOperations.RoundUpToPowerOf2((uint)Math.Max(1, (width + PerInvocation - 1) / PerInvocation)));
    }

    /// <summary>A grid over rows, so many invocations each.</summary>
    public static Grid Rows(ComputeDevice device, long rows, int lanes) => Grid.Over(rows, (int)RowWorkgroup(device) / lanes);

    /// <summary>A grid over elements, four an invocation.</summary>
    public static Grid Elements(long count) => Grid.Over(count, Workgroup * PerInvocation);

    /// <summary>1 when groups of four elements may be loaded at once: the row width and every address allow it.</summary>
    public static uint Wide(long width, params ReadOnlySpan<Tensor?> tensors)
    {
        if (width % PerInvocation != 0) return 0;
        foreach (var tensor in tensors)
        {
            if (tensor != null && tensor.Address % (ulong)(PerInvocation * tensor.DType.Size()) != 0) return 0;
        }
        return 1;
    }

    /// <summary>Whether rows of a width hold whole groups of eight elements, and every tensor begins at a multiple of 16 bytes.</summary>
    public static bool AreOcts(int width, params ReadOnlySpan<Tensor?> tensors) => width % Oct == 0 && BeginAtAccesses(tensors);

    /// <summary>Whether every tensor begins at a multiple of 16 bytes, the widest access.</summary>
    public static bool BeginAtAccesses(params ReadOnlySpan<Tensor?> tensors)
    {
        foreach (var tensor in tensors)
        {
            if (tensor is not null && tensor.Address % AccessBytes != 0) return false;
        }
        return true;
    }

    /// <summary>The number of a type in shaders; f32 for no tensor.</summary>
    public static uint TypeCode(Tensor? tensor) => (uint)(tensor?.DType ?? DType.Float32);

    /// <summary>The number of rows when all axes but the last are taken together.</summary>
    public static long RowCount(Tensor x) => Tensor.CountOf(x.Shape[..^1]);

    /// <summary>An element or row count as a shader takes it.</summary>
    /// <exception cref="ShapeException">It is too large.</exception>
    public static uint Index(long count, Tensor tensor)
    {
        Require.That(count <= uint.MaxValue - (Workgroup * PerInvocation), $"a tensor {tensor.Describe()} has too many elements for this operation");
        return (uint)count;
    }

    /// <summary>How many workgroups fill the device for a reduction that leaves one partial result each.</summary>
    public static int Fill(ComputeDevice device) => device.Tiles.Fill;

    /// <summary>The gradient in another type, or itself.</summary>
    public static Tensor As(this Tensor gradient, DType type) => gradient.DType == type ? gradient : gradient.To(type);
}
