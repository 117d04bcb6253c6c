using System.Runtime.InteropServices;
using Silk.NET.Core;
using Silk.NET.Vulkan;

namespace Fla.Vulkan;

/// <summary>Reads what the physical devices can do.</summary>
internal static unsafe class DeviceProbe
{
    public const string CooperativeMatrix = "VK_KHR_cooperative_matrix";
    public const string BFloat16 = "VK_KHR_shader_bfloat16";
    public const string MemoryBudget = "VK_EXT_memory_budget";
    public const string PipelineProperties = "VK_KHR_pipeline_executable_properties";
    public const string ExternalMemoryHost = "VK_EXT_external_memory_host";
    private const ComponentTypeKHR BFloat16Component = (ComponentTypeKHR)1000141000;

    public static IReadOnlyList<DeviceInfo> All(VulkanInstance instance, DeviceOptions options)
    {
        var api = instance.Api;
        uint count = 0;
        api.EnumeratePhysicalDevices(instance.Handle, &count, null);
        var handles = new PhysicalDevice[count];
        fixed (PhysicalDevice* p = handles) api.EnumeratePhysicalDevices(instance.Handle, &count, p);
        return handles.Take((int)count)
            .Select(h => Probe(instance, h, options))
            .OrderBy(d => d.Usable ? 0 : 1).ThenBy(d => d.Kind)
            .Select((d, i) => d with { Index = i })
            .ToList();
    }

    private static DeviceInfo Probe(VulkanInstance instance, PhysicalDevice handle, DeviceOptions options)
    {
        var api = instance.Api;
        var extensions = Extensions(api, handle);
        var driverProperties = new PhysicalDeviceDriverProperties { SType = StructureType.PhysicalDeviceDriverProperties };
        var subgroup = new PhysicalDeviceSubgroupSizeControlProperties { SType = StructureType.PhysicalDeviceSubgroupSizeControlProperties, PNext = &driverProperties };
        var p11 = new PhysicalDeviceVulkan11Properties { SType = StructureType.PhysicalDeviceVulkan11Properties, PNext = &subgroup };
        var maintenance4 = new PhysicalDeviceMaintenance4Properties { SType = StructureType.PhysicalDeviceMaintenance4Properties, PNext = &p11 };
        var host = new PhysicalDeviceExternalMemoryHostPropertiesEXT { SType = StructureType.PhysicalDeviceExternalMemoryHostPropertiesExt, PNext = &maintenance4 };
        var properties = new PhysicalDeviceProperties2 { SType = StructureType.PhysicalDeviceProperties2, PNext = extensions.Contains(ExternalMemoryHost) ? &host : &maintenance4 };
        api.GetPhysicalDeviceProperties2(handle, &properties);
        var p = properties.Properties;
        var kind = p.DeviceType switch
        {
            PhysicalDeviceType.DiscreteGpu => DeviceKind.Discrete,
            PhysicalDeviceType.IntegratedGpu => DeviceKind.Integrated,
            PhysicalDeviceType.VirtualGpu => DeviceKind.Virtual,
            PhysicalDeviceType.Cpu => DeviceKind.Cpu,
            _ => DeviceKind.Other,
        };
        var driver = $"{Text(driverProperties.DriverName, 256)} {Text(driverProperties.DriverInfo, 256)}".Trim();
        var version = new Version((int)(p.ApiVersion >> 22) & 0x7f, (int)(p.ApiVersion >> 12) & 0x3ff, (int)p.ApiVersion & 0xfff);
        var isVulkan13 = version >= new Version(1, 3);
        var queue = QueueFamily(api, handle, out var timestampBits);
        var limits = new DeviceLimits((int)p.Limits.MaxComputeSharedMemorySize, (int)p.Limits.MaxComputeWorkGroupInvocations,
            p.Limits.MaxComputeWorkGroupCount[0], (int)p.Limits.MaxPushConstantsSize, SubgroupSize(p11, subgroup), (int)subgroup.MinSubgroupSize,
            (int)subgroup.MaxSubgroupSize, p11.MaxMemoryAllocationSize, isVulkan13 ? maintenance4.MaxBufferSize : p11.MaxMemoryAllocationSize,
            timestampBits > 0 ? p.Limits.TimestampPeriod : 0, extensions.Contains(ExternalMemoryHost) ? host.MinImportedHostPointerAlignment : 0);
        var missing = new List<string>();
        if (!isVulkan13) missing.Add($"Vulkan 1.3 (has {version})");
        if (queue == null) missing.Add("a compute queue");
        var features = isVulkan13 ? Features(instance, handle, extensions, p.VendorID, driver, kind, options, missing) : new DeviceFeatures();
        return new()
        {
            Index = 0, Name = Text(p.DeviceName, 256), Kind = kind, VendorId = p.VendorID, Driver = driver, ApiVersion = version, Features = features,
            Limits = limits, Heaps = Heaps(api, handle, features.MemoryBudget), Missing = missing, Handle = handle, Extensions = extensions, QueueFamily = queue ?? 0,
        };
    }

    /// <summary>32 where it can be required (NVIDIA, RDNA, Intel), else the driver's own.</summary>
    private static int SubgroupSize(PhysicalDeviceVulkan11Properties p11, PhysicalDeviceSubgroupSizeControlProperties control) =>
        control.MinSubgroupSize <= 32 && control.MaxSubgroupSize >= 32 && (control.RequiredSubgroupSizeStages & ShaderStageFlags.ComputeBit) != 0
            ? 32 : (int)p11.SubgroupSize;

    private static DeviceFeatures Features(VulkanInstance instance, PhysicalDevice handle, HashSet<string> extensions, uint vendor, string driver,
        DeviceKind kind, DeviceOptions options, List<string> missing)
    {
        var notes = new List<string>();
        var matrix = new PhysicalDeviceCooperativeMatrixFeaturesKHR { SType = StructureType.PhysicalDeviceCooperativeMatrixFeaturesKhr };
        var bfloat = new ShaderBFloat16Features { SType = ShaderBFloat16Features.Type, PNext = &matrix };
        var executable = new PhysicalDevicePipelineExecutablePropertiesFeaturesKHR { SType = StructureType.PhysicalDevicePipelineExecutablePropertiesFeaturesKhr, PNext = &bfloat };
        var f11 = new PhysicalDeviceVulkan11Features { SType = StructureType.PhysicalDeviceVulkan11Features, PNext = &executable };
        var f12 = new PhysicalDeviceVulkan12Features { SType = StructureType.PhysicalDeviceVulkan12Features, PNext = &f11 };
        var f13 = new PhysicalDeviceVulkan13Features { SType = StructureType.PhysicalDeviceVulkan13Features, PNext = &f12 };
        var all = new PhysicalDeviceFeatures2 { SType = StructureType.PhysicalDeviceFeatures2, PNext = &f13 };
        instance.Api.GetPhysicalDeviceFeatures2(handle, &all);

        void Need(bool has, string what) { if (!has) missing.Add(what); }
        Need(f12.BufferDeviceAddress, "bufferDeviceAddress");
        Need(f12.TimelineSemaphore, "timelineSemaphore");
        Need(f12.ScalarBlockLayout, "scalarBlockLayout");
        Need(f11.StorageBuffer16BitAccess, "storageBuffer16BitAccess");
        Need(f13.Synchronization2, "synchronization2");
        Need(f13.SubgroupSizeControl && f13.ComputeFullSubgroups, "subgroupSizeControl");
        Need(f13.Maintenance4, "maintenance4");
        Need(all.Features.ShaderInt64, "shaderInt64");

        bool Off(string feature, string label)
        {
            if (options.Disable.Contains(feature)) { notes.Add($"{label}: switched off (FLA_DISABLE={feature})"); return true; }
            if (KnownBadDrivers.Find(vendor, driver, kind, feature) is { } bad) { notes.Add($"{label}: not used on {bad.Where}: {bad.Why}"); return true; }
            return false;
        }

        var float16 = f12.ShaderFloat16 && !Off("float16", "fp16 arithmetic");
        MatrixShape? half = null, bfloat16 = null;
        if (!extensions.Contains(CooperativeMatrix) || !matrix.CooperativeMatrix) notes.Add("cooperative matrices: the driver has none, plain arithmetic is used");
        else if (!f12.VulkanMemoryModel) notes.Add("cooperative matrices: the driver lacks the Vulkan memory model that they need");
        else if (!Off("cooperative_matrix", "cooperative matrices"))
        {
            var shapes = MatrixShapes(instance, handle);
            half = float16 ? Choose(shapes, ComponentTypeKHR.Float16Khr) : null;
            if (half == null) notes.Add("cooperative matrices: no fp16 x fp16 -> fp32 shape at subgroup scope that has fp16 accumulators, too");
            if (!extensions.Contains(BFloat16) || !bfloat.CooperativeMatrix) notes.Add("bf16 cooperative matrices: the driver has none, bf16 uses plain arithmetic");
            else if (!all.Features.ShaderInt16) notes.Add("bf16 cooperative matrices: the driver lacks shaderInt16 that they need");
            else if (!Off("bfloat16_matrix", "bf16 cooperative matrices")) bfloat16 = Choose(shapes, BFloat16Component);
        }
        return new()
        {
            Float16 = float16,
            MatrixFloat16 = half,
            MatrixBFloat16 = bfloat16,
            MemoryBudget = extensions.Contains(MemoryBudget) && !Off("memory_budget", "memory budget"),
            PipelineStatistics = extensions.Contains(PipelineProperties) && executable.PipelineExecutableInfo,
            ExternalMemoryHost = extensions.Contains(ExternalMemoryHost) && !Off("external_memory_host", "host memory import"),
            Notes = notes,
        };
    }

    /// <summary>A shape with fp32 accumulators. Results leave through 16-bit accumulators of the same rows and columns (shaders/common/tile_coopmat.glsl): those must exist, too.</summary>
    private static MatrixShape? Choose(CooperativeMatrixPropertiesKHR[] all, ComponentTypeKHR type)
    {
        bool HasHalf(MatrixShape shape) => all.Any(m => m.Scope == ScopeKHR.SubgroupKhr && m.MSize == shape.M && m.NSize == shape.N
            && m.CType == ComponentTypeKHR.Float16Khr && m.ResultType == ComponentTypeKHR.Float16Khr);
        var fit = all.Where(m => m.Scope == ScopeKHR.SubgroupKhr && m.AType == type && m.BType == type
                && m.CType == ComponentTypeKHR.Float32Khr && m.ResultType == ComponentTypeKHR.Float32Khr && !m.SaturatingAccumulation)
            .Select(m => new MatrixShape((int)m.MSize, (int)m.NSize, (int)m.KSize)).ToList();
        foreach (var shape in new MatrixShape[] { new(16, 16, 16), new(8, 8, 8), new(16, 8, 16), new(8, 16, 16), new(16, 8, 8) })
        {
            if (fit.Contains(shape) && HasHalf(shape)) return shape;
        }
        return null;
    }

    private static CooperativeMatrixPropertiesKHR[] MatrixShapes(VulkanInstance instance, PhysicalDevice handle)
    {
        var get = (delegate* unmanaged<PhysicalDevice, uint*, CooperativeMatrixPropertiesKHR*, Result>)instance.Proc("vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
        uint count = 0;
        get(handle, &count, null);
        var shapes = new CooperativeMatrixPropertiesKHR[count];
        Array.Fill(shapes, new CooperativeMatrixPropertiesKHR { SType = StructureType.CooperativeMatrixPropertiesKhr });
        fixed (CooperativeMatrixPropertiesKHR* p = shapes) get(handle, &count, p);
        return shapes;
    }

    private static uint? QueueFamily(Vk api, PhysicalDevice handle, out uint timestampBits)
    {
        uint count = 0;
        api.GetPhysicalDeviceQueueFamilyProperties(handle, &count, null);
        var families = new QueueFamilyProperties[count];
        fixed (QueueFamilyProperties* p = families) api.GetPhysicalDeviceQueueFamilyProperties(handle, &count, p);
        var index = Array.FindIndex(families, f => (f.QueueFlags & QueueFlags.ComputeBit) != 0);
        timestampBits = index >= 0 ? families[index].TimestampValidBits : 0;
        return index >= 0 ? (uint)index : null;
    }

    internal static List<MemoryHeap> Heaps(Vk api, PhysicalDevice handle, bool hasBudget)
    {
        var budget = new PhysicalDeviceMemoryBudgetPropertiesEXT { SType = StructureType.PhysicalDeviceMemoryBudgetPropertiesExt };
        var memory = new PhysicalDeviceMemoryProperties2 { SType = StructureType.PhysicalDeviceMemoryProperties2, PNext = hasBudget ? &budget : null };
        api.GetPhysicalDeviceMemoryProperties2(handle, &memory);
        var heaps = new List<MemoryHeap>();
        for (var i = 0; i < memory.MemoryProperties.MemoryHeapCount; i++)
        {
            var heap = memory.MemoryProperties.MemoryHeaps[i];
            var free = hasBudget ? (long)budget.HeapBudget[i] - (long)budget.HeapUsage[i] : -1;
            heaps.Add(new((long)heap.Size, (heap.Flags & MemoryHeapFlags.DeviceLocalBit) != 0, free));
        }
        return heaps;
    }

    private static HashSet<string> Extensions(Vk api, PhysicalDevice handle)
    {
        uint count = 0;
        api.EnumerateDeviceExtensionProperties(handle, (byte*)null, &count, null);
        var all = new ExtensionProperties[count];
        fixed (ExtensionProperties* p = all) api.EnumerateDeviceExtensionProperties(handle, (byte*)null, &count, p);
        var names = new HashSet<string>();
        for (var i = 0; i < count; i++)
        {
            fixed (byte* name = all[i].ExtensionName) names.Add(Marshal.PtrToStringUTF8((nint)name) ?? "");
        }
        return names;
    }

    private static string Text(byte* text, int limit)
    {
        var length = new ReadOnlySpan<byte>(text, limit).IndexOf((byte)0);
        return System.Text.Encoding.UTF8.GetString(text, length < 0 ? limit : length);
    }
}

/// <summary>VkPhysicalDeviceShaderBfloat16FeaturesKHR, which Silk.NET 2.23 does not declare.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ShaderBFloat16Features
{
    public const StructureType Type = (StructureType)1000141000;
    public StructureType SType;
    public void* PNext;
    public Bool32 Type16;
    public Bool32 DotProduct;
    public Bool32 CooperativeMatrix;
}
