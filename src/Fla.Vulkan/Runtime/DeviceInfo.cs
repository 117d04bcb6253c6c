using System.Runtime.InteropServices;
using Silk.NET.Vulkan;

namespace Fla.Vulkan;

/// <summary>What sort of device it is, in the order of preference.</summary>
public enum DeviceKind
{
    /// <summary>A graphics card with its own memory.</summary>
    Discrete,

    /// <summary>A GPU that shares the processor's memory.</summary>
    Integrated,

    /// <summary>A GPU of a virtual machine.</summary>
    Virtual,

    /// <summary>A software driver such as lavapipe.</summary>
    Cpu,

    /// <summary>Something else.</summary>
    Other,
}

/// <summary>One multiply shape that cooperative matrices of a device have at subgroup scope: A [M,K] · B [K,N] → C [M,N].</summary>
/// <param name="M">Rows of the product.</param>
/// <param name="N">Columns of the product.</param>
/// <param name="K">Length of the reduction.</param>
public readonly record struct MatrixShape(int M, int N, int K)
{
    /// <inheritdoc/>
    public override string ToString() => $"{M}x{N}x{K}";
}

/// <summary>Optional features of a device: what it has, less what was switched off.</summary>
public sealed record DeviceFeatures
{
    /// <summary>fp16 arithmetic in shaders, needed by the fp16 cooperative-matrix path.</summary>
    public bool Float16 { get; init; }

    /// <summary>Shape of the fp16 × fp16 → fp32 cooperative matrix in use, null when there is none.</summary>
    public MatrixShape? MatrixFloat16 { get; init; }

    /// <summary>Shape of the bf16 × bf16 → fp32 cooperative matrix in use, null when there is none.</summary>
    public MatrixShape? MatrixBFloat16 { get; init; }

    /// <summary>The driver tells how much of each heap is free (VK_EXT_memory_budget).</summary>
    public bool MemoryBudget { get; init; }

    /// <summary>Registers, spills and shared memory of pipelines can be read (VK_KHR_pipeline_executable_properties).</summary>
    public bool PipelineStatistics { get; init; }

    /// <summary>Host memory can be bound as device memory (VK_EXT_external_memory_host).</summary>
    public bool ExternalMemoryHost { get; init; }

    /// <summary>Why a path is not taken: one line for each feature that the driver lacks, that is known to be bad there, or that was switched off.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}

/// <summary>Limits of a device that kernels and the allocator heed.</summary>
/// <param name="SharedMemory">Bytes of shared memory a workgroup may have.</param>
/// <param name="WorkgroupInvocations">Invocations a workgroup may have.</param>
/// <param name="WorkgroupsX">Workgroups of one dispatch along x.</param>
/// <param name="PushConstants">Bytes of push constants.</param>
/// <param name="SubgroupSize">The subgroup size that kernels are built for.</param>
/// <param name="MinSubgroupSize">Smallest subgroup size.</param>
/// <param name="MaxSubgroupSize">Largest subgroup size.</param>
/// <param name="MaxAllocation">Bytes of one allocation.</param>
/// <param name="MaxBuffer">Bytes of one buffer.</param>
/// <param name="TimestampPeriod">Nanoseconds of one timestamp tick; 0 when the queue has no timestamps.</param>
/// <param name="HostImportAlignment">Alignment of imported host memory in bytes; 0 without VK_EXT_external_memory_host.</param>
public sealed record DeviceLimits(int SharedMemory, int WorkgroupInvocations, uint WorkgroupsX, int PushConstants, int SubgroupSize,
    int MinSubgroupSize, int MaxSubgroupSize, ulong MaxAllocation, ulong MaxBuffer, double TimestampPeriod, ulong HostImportAlignment);

/// <summary>A memory heap of a device.</summary>
/// <param name="Size">Bytes.</param>
/// <param name="DeviceLocal">True for the device's own memory.</param>
/// <param name="Free">Bytes free by the driver's budget, -1 when it does not tell.</param>
public readonly record struct MemoryHeap(long Size, bool DeviceLocal, long Free);

/// <summary>A device as found on this machine, before it is opened.</summary>
public sealed record DeviceInfo
{
    /// <summary>Position in <see cref="All"/>.</summary>
    public required int Index { get; init; }

    /// <summary>The device's name.</summary>
    public required string Name { get; init; }

    /// <summary>What sort of device it is.</summary>
    public required DeviceKind Kind { get; init; }

    /// <summary>PCI vendor number: 0x10de NVIDIA, 0x1002 AMD, 0x8086 Intel, 0x10005 Mesa.</summary>
    public required uint VendorId { get; init; }

    /// <summary>Driver name and version as the driver tells it.</summary>
    public required string Driver { get; init; }

    /// <summary>Vulkan version of the device.</summary>
    public required Version ApiVersion { get; init; }

    /// <summary>Features that this library would use.</summary>
    public required DeviceFeatures Features { get; init; }

    /// <summary>Limits.</summary>
    public required DeviceLimits Limits { get; init; }

    /// <summary>Memory heaps.</summary>
    public required IReadOnlyList<MemoryHeap> Heaps { get; init; }

    /// <summary>What is missing for this library to run there; empty for a usable device.</summary>
    public required IReadOnlyList<string> Missing { get; init; }

    /// <summary>True when the device can be opened.</summary>
    public bool Usable => Missing.Count == 0;

    internal PhysicalDevice Handle { get; init; }

    internal IReadOnlySet<string> Extensions { get; init; } = new HashSet<string>();

    internal uint QueueFamily { get; init; }

    /// <summary>Every Vulkan device of this machine, usable ones first: discrete, integrated, virtual, CPU.</summary>
    /// <param name="options">Switches that change the features shown.</param>
    /// <exception cref="DeviceException">There is no Vulkan loader or driver.</exception>
    public static IReadOnlyList<DeviceInfo> All(DeviceOptions? options = null)
    {
        var instance = VulkanInstance.Acquire();
        try { return DeviceProbe.All(instance, options ?? DeviceOptions.FromEnvironment()); }
        finally { instance.Release(); }
    }
}

/// <summary>How a device is chosen and opened.</summary>
public sealed record DeviceOptions
{
    /// <summary>"" for the best device, an index, "cpu", "discrete", "integrated", or a part of the name.</summary>
    public string Select { get; init; } = "";

    /// <summary>Features to leave unused: "cooperative_matrix", "bfloat16_matrix", "float16", "memory_budget", "external_memory_host", "mapped_memory".</summary>
    public IReadOnlyList<string> Disable { get; init; } = [];

    /// <summary>Fresh memory is filled with NaN and every allocation stands between sentinels that are checked when it is freed.</summary>
    public bool PoisonMemory { get; init; }

    /// <summary>Folder of the pipeline cache; null for the user's cache folder; empty for none.</summary>
    public string? PipelineCacheFolder { get; init; }

    /// <summary>File of tile choices in place of the user's (<see cref="Fla.Vulkan.TileFile.UserPath"/>, for null); empty for the built-in ones alone.</summary>
    public string? TileFile { get; init; }

    /// <summary>Bytes that tensors may take; 0 for no limit but the device's.</summary>
    public long MemoryLimit { get; init; }

    /// <summary>FLA_DEVICE, FLA_DISABLE (comma separated), FLA_POISON=1, FLA_PIPELINE_CACHE, FLA_TILES.</summary>
    public static DeviceOptions FromEnvironment() => new()
    {
        Select = Environment.GetEnvironmentVariable("FLA_DEVICE") ?? "",
        Disable = (Environment.GetEnvironmentVariable("FLA_DISABLE") ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries),
        PoisonMemory = Environment.GetEnvironmentVariable("FLA_POISON") == "1",
        PipelineCacheFolder = Environment.GetEnvironmentVariable("FLA_PIPELINE_CACHE"),
        TileFile = Environment.GetEnvironmentVariable("FLA_TILES"),
    };
}
