using System.Runtime.InteropServices;
using Silk.NET.Core.Native;
using Silk.NET.Vulkan;

namespace Fla.Vulkan;

/// <summary>
/// An opened Vulkan device: memory, one command stream, pipelines. Several may be open at once, also on one physical device.
/// Calls from several threads are serialised by the device's lock; a tensor belongs to the device that made it.
/// </summary>
public sealed unsafe partial class ComputeDevice : IDisposable
{
    private static readonly List<WeakReference<ComputeDevice>> Open = [];

    private readonly VulkanInstance _instance;
    private readonly uint? _memoryType;
    private readonly uint? _hostMemoryType;
    private readonly List<MemoryPool> _pools = [];
    private readonly delegate* unmanaged<Device, DebugUtilsObjectNameInfoEXT*, Result> _setName;

    static ComputeDevice() =>
        // lavapipe can crash at exit while an instance lives: whoever forgot Dispose is served here.
        AppDomain.CurrentDomain.ProcessExit += (_, _) =>
        {
            foreach (var reference in Open.ToList())
            {
                if (reference.TryGetTarget(out var device)) device.Dispose();
            }
        };

    private ComputeDevice(VulkanInstance instance, DeviceInfo info, DeviceOptions options)
    {
        _instance = instance;
        Info = info;
        Options = options;
        Tiles = TileFile.TableFor(info, options, TileFile.UserPath);
        Api = Vk.GetApi();
        Api.CurrentInstance = instance.Handle;
        Handle = CreateHandle();
        Api.CurrentDevice = Handle;
        Device handle = Handle;
        Api.GetDeviceQueue(handle, info.QueueFamily, 0, out var queue);
        Queue = queue;
        if (instance.HasDebugUtils) _setName = (delegate* unmanaged<Device, DebugUtilsObjectNameInfoEXT*, Result>)DeviceProc("vkSetDebugUtilsObjectNameEXT");
        (_memoryType, var isMapped) = ChooseMemory(MemoryPropertyFlags.DeviceLocalBit);
        IsMemoryMapped = isMapped && !options.Disable.Contains("mapped_memory");
        // Cached where there is such: the host reads the other slowly.
        const MemoryPropertyFlags Host = MemoryPropertyFlags.HostVisibleBit | MemoryPropertyFlags.HostCoherentBit;
        _hostMemoryType = ChooseMemory(Host | MemoryPropertyFlags.HostCachedBit).Type ?? ChooseMemory(Host).Type;
        Memory = new(() => _pools);
        Pool = NewPool("tensors");
        Pipelines = new(this);
        Stream = new(this);
        HostPool = new(this);
        lock (Open) Open.Add(new(this));
    }

    /// <summary>Opens the best device, or the one that the options, by default from the environment, select.</summary>
    /// <param name="options">Choice and switches; null reads FLA_DEVICE, FLA_DISABLE, FLA_POISON.</param>
    /// <exception cref="DeviceException">There is no such device, or it lacks something; the message lists what is there.</exception>
    public static ComputeDevice Create(DeviceOptions? options = null)
    {
        options ??= DeviceOptions.FromEnvironment();
        var instance = VulkanInstance.Acquire();
        try
        {
            var info = Choose(DeviceProbe.All(instance, options), options.Select);
            return new(instance, info, options) { _chained = Chains(info, options) };
        }
        catch
        {
            instance.Release();
            throw;
        }
    }

    /// <summary>What the device is.</summary>
    public DeviceInfo Info { get; }

    /// <summary>The device's name.</summary>
    public string Name => Info.Name;

    /// <summary>Features in use.</summary>
    public DeviceFeatures Features => Info.Features;

    /// <summary>Limits.</summary>
    public DeviceLimits Limits => Info.Limits;

    /// <summary>How it was opened.</summary>
    public DeviceOptions Options { get; }

    /// <summary>How kernels are cut. A change holds for what is recorded from then on.</summary>
    public TileTable Tiles { get; set; }

    /// <summary>True for a software driver: kernels keep their loops rolled there.</summary>
    public bool IsCpu => Info.Kind == DeviceKind.Cpu;

    /// <summary>The subgroup size that every pipeline is built for.</summary>
    public int SubgroupSize => Limits.SubgroupSize;

    /// <summary>The stream that operators record on.</summary>
    public ComputeStream Stream { get; }

    /// <summary>Memory in use.</summary>
    public MemoryStatistics Memory { get; }

    /// <summary>Bytes free in the device's memory by the driver's budget, -1 when it does not tell.</summary>
    public long FreeMemory => DeviceProbe.Heaps(Api, Info.Handle, Features.MemoryBudget) is var heaps
        ? heaps.Where(h => h.DeviceLocal).Select(h => h.Free).DefaultIfEmpty(-1).Max() : -1;

    /// <summary>
    /// Bytes that the device could still give to tensors: what the driver tells is free and what is held unused, or, where it does not tell, the size of its
    /// memory less what is held; no more than <see cref="DeviceOptions.MemoryLimit"/> leaves.
    /// </summary>
    public long AvailableMemory
    {
        get
        {
            var heaps = Info.Heaps.Where(h => h.DeviceLocal).Select(h => h.Size).DefaultIfEmpty(0).Max();
            var free = (FreeMemory is >= 0 and var told ? told + Memory.Held : heaps) - Memory.Used;
            return Options.MemoryLimit > 0 ? Math.Min(free, Options.MemoryLimit - Memory.Used) : free;
        }
    }

    /// <summary>Shape of the cooperative matrix used for a storage type, null when the plain path is taken.</summary>
    /// <param name="type">Storage type; f32 always takes the plain path, which loses no precision.</param>
    public MatrixShape? MatrixShape(DType type)
    {
        var shape = type switch
        {
            DType.Float16 => Features.MatrixFloat16,
            DType.BFloat16 => Features.MatrixBFloat16,
            _ => null,
        };
        return ShaderLibrary.HasCooperativeMatrix ? shape : null;
    }

    internal Lock Gate { get; } = new();

    internal Vk Api { get; }

    internal Device Handle { get; private set; }

    internal Queue Queue { get; }

    internal PipelineStore Pipelines { get; }

    internal MemoryPool Pool { get; }

    /// <summary>Host memory for results that callers keep.</summary>
    internal HostPool HostPool { get; }

    internal uint MemoryType => _memoryType ?? throw NoMemory();

    internal bool IsMemoryMapped { get; }

    internal uint HostMemoryType => _hostMemoryType ?? throw NoMemory();

    internal bool IsDisposed { get; private set; }

    internal bool IsLost { get; private set; }

    /// <summary>Takes the oldest message of the validation layers, which FLA_VALIDATION=1 turns on.</summary>
    public static bool TryTakeValidationMessage([System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out string? message) =>
        VulkanInstance.ValidationMessages.TryDequeue(out message);

    /// <summary>Opens a scope that disposes the tensors made in it on this thread.</summary>
    public TensorScope Scope()
    {
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        return new();
    }

    /// <summary>Waits for the device to finish all work.</summary>
    public void Synchronize() => Stream.Synchronize();

    /// <summary>Gives cached memory that no tensor uses back to the driver, and pinned host memory that no result lies in to the system.</summary>
    public void TrimMemory()
    {
        lock (Gate)
        {
            Stream.Synchronize();
            HostPool.Trim();
            foreach (var pool in _pools.ToList()) pool.Trim();
        }
    }

    /// <summary>In the poison mode: throws when a kernel wrote beside any live allocation.</summary>
    /// <exception cref="MemoryCorruptionException">A sentinel was overwritten.</exception>
    public void CheckMemory()
    {
        lock (Gate)
        {
            if (!Options.PoisonMemory) throw new InvalidOperationException("memory is only checked in the poison mode (FLA_POISON=1)");
            foreach (var pool in _pools.ToList()) pool.CheckSentinels();
        }
    }

    /// <summary>Destroys the device and every tensor on it.</summary>
    public void Dispose()
    {
        lock (Gate)
        {
            if (IsDisposed) return;
            Stream.Dispose();
            Pipelines.Dispose();
            HostPool.Close();
            foreach (var pool in _pools.ToList()) pool.Destroy();
            IsDisposed = true;
            Api.DestroyDevice(Handle, null);
            Api.Dispose();
            lock (Open) Open.RemoveAll(r => !r.TryGetTarget(out var d) || d == this);
            _instance.Release();
        }
    }

    internal MemoryPool NewPool(string name)
    {
        lock (Gate)
        {
            var pool = new MemoryPool(this, name, Memory);
            _pools.Add(pool);
            return pool;
        }
    }

    internal void Forget(MemoryPool pool) => _pools.Remove(pool);

    internal Storage? Find(ulong address)
    {
        foreach (var pool in _pools)
        {
            if (pool.Find(address) is { } storage) return storage;
        }
        return null;
    }

    internal void Check(Result result, string call)
    {
        if (result == Result.Success) return;
        if (result == Result.ErrorDeviceLost)
        {
            IsLost = true;
            throw new DeviceLostException(Name, call);
        }
        throw new VulkanException(call, result);
    }

    internal nint DeviceProc(string name) => (nint)Api.GetDeviceProcAddr(Handle, name).Handle;

    internal void SetName(ObjectType type, ulong handle, string name)
    {
        if (_setName == null) return;
        var text = (byte*)SilkMarshal.StringToPtr(name);
        var info = new DebugUtilsObjectNameInfoEXT { SType = StructureType.DebugUtilsObjectNameInfoExt, ObjectType = type, ObjectHandle = handle, PObjectName = text };
        _setName(Handle, &info);
        SilkMarshal.Free((nint)text);
    }

    private static DeviceInfo Choose(IReadOnlyList<DeviceInfo> all, string select)
    {
        var list = string.Join("; ", all.Select(d => $"{d.Index}: {d.Name} ({d.Kind}{(d.Usable ? "" : ", lacks " + string.Join(", ", d.Missing))})"));
        if (all.Count == 0) throw new DeviceException("Vulkan is here but has no device: install the GPU's driver, or Mesa's (Debian, Ubuntu: apt install mesa-vulkan-drivers)");
        var usable = all.Where(d => d.Usable);
        var chosen = select switch
        {
            "" => usable.FirstOrDefault(),
            "cpu" => usable.FirstOrDefault(d => d.Kind == DeviceKind.Cpu),
            "discrete" => usable.FirstOrDefault(d => d.Kind == DeviceKind.Discrete),
            "integrated" => usable.FirstOrDefault(d => d.Kind == DeviceKind.Integrated),
            _ when int.TryParse(select, out var index) => all.FirstOrDefault(d => d.Index == index),
            _ => usable.FirstOrDefault(d => d.Name.Contains(select, StringComparison.OrdinalIgnoreCase)),
        };
        return chosen switch
        {
            null => throw new DeviceException($"no usable Vulkan device{(select == "" ? "" : $" matches '{select}'")}; found {list}"),
            { Usable: false } => throw new DeviceException($"{chosen.Name} cannot be used: it lacks {string.Join(", ", chosen.Missing)}"),
            _ => chosen,
        };
    }

    /// <summary>Null on a device that only compiles, such as RADV's null hardware.</summary>
    private (uint? Type, bool IsMapped) ChooseMemory(MemoryPropertyFlags wanted)
    {
        PhysicalDeviceMemoryProperties memory;
        Api.GetPhysicalDeviceMemoryProperties(Info.Handle, &memory);
        for (var i = 0; i < memory.MemoryTypeCount; i++)
        {
            var flags = memory.MemoryTypes[i].PropertyFlags;
            var isMapped = (flags & MemoryPropertyFlags.HostVisibleBit) != 0 && (flags & MemoryPropertyFlags.HostCoherentBit) != 0;
            if ((flags & wanted) == wanted) return ((uint)i, isMapped);
        }
        return (null, false);
    }

    private DeviceException NoMemory() => new($"{Name} has no memory that this library can use: it can compile shaders, not run them");

    private Device CreateHandle()
    {
        var f = Features;
        var hasMatrix = f.MatrixFloat16 != null || f.MatrixBFloat16 != null;
        var extensions = new List<string>();
        if (hasMatrix) extensions.Add(DeviceProbe.CooperativeMatrix);
        if (f.MatrixBFloat16 != null) extensions.Add(DeviceProbe.BFloat16);
        if (f.MemoryBudget) extensions.Add(DeviceProbe.MemoryBudget);
        if (f.PipelineStatistics) extensions.Add(DeviceProbe.PipelineProperties);
        if (f.ExternalMemoryHost) extensions.Add(DeviceProbe.ExternalMemoryHost);

        void* chain = null;
        var matrix = new PhysicalDeviceCooperativeMatrixFeaturesKHR { SType = StructureType.PhysicalDeviceCooperativeMatrixFeaturesKhr, CooperativeMatrix = true };
        if (hasMatrix) { matrix.PNext = chain; chain = &matrix; }
        var bfloat = new ShaderBFloat16Features { SType = ShaderBFloat16Features.Type, Type16 = true, CooperativeMatrix = true };
        if (f.MatrixBFloat16 != null) { bfloat.PNext = chain; chain = &bfloat; }
        var executable = new PhysicalDevicePipelineExecutablePropertiesFeaturesKHR { SType = StructureType.PhysicalDevicePipelineExecutablePropertiesFeaturesKhr, PipelineExecutableInfo = true };
        if (f.PipelineStatistics) { executable.PNext = chain; chain = &executable; }
        var f11 = new PhysicalDeviceVulkan11Features { SType = StructureType.PhysicalDeviceVulkan11Features, PNext = chain, StorageBuffer16BitAccess = true };
        var f12 = new PhysicalDeviceVulkan12Features
        {
            SType = StructureType.PhysicalDeviceVulkan12Features, PNext = &f11, BufferDeviceAddress = true, TimelineSemaphore = true, ScalarBlockLayout = true,
            ShaderFloat16 = f.Float16, VulkanMemoryModel = hasMatrix,
        };
        var f13 = new PhysicalDeviceVulkan13Features
        {
            SType = StructureType.PhysicalDeviceVulkan13Features, PNext = &f12, Synchronization2 = true, SubgroupSizeControl = true,
            ComputeFullSubgroups = true, Maintenance4 = true,
        };
        var features = new PhysicalDeviceFeatures2 { SType = StructureType.PhysicalDeviceFeatures2, PNext = &f13 };
        features.Features.ShaderInt64 = true;
        features.Features.ShaderInt16 = f.MatrixBFloat16 != null;
        var priority = 1f;
        var queue = new DeviceQueueCreateInfo { SType = StructureType.DeviceQueueCreateInfo, QueueFamilyIndex = Info.QueueFamily, QueueCount = 1, PQueuePriorities = &priority };
        var info = new DeviceCreateInfo
        {
            SType = StructureType.DeviceCreateInfo, PNext = &features, QueueCreateInfoCount = 1, PQueueCreateInfos = &queue,
            EnabledExtensionCount = (uint)extensions.Count, PpEnabledExtensionNames = (byte**)SilkMarshal.StringArrayToPtr(extensions),
        };
        Device device;
        var result = Api.CreateDevice(Info.Handle, &info, null, &device);
        SilkMarshal.Free((nint)info.PpEnabledExtensionNames);
        return result == Result.Success ? device : throw new VulkanException("vkCreateDevice", result);
    }
}
