using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Silk.NET.Core;
using Silk.NET.Core.Native;
using Silk.NET.Vulkan;

namespace Fla.Vulkan;

/// <summary>The process's one Vulkan instance: made with the first device, destroyed with the last one.</summary>
internal sealed unsafe class VulkanInstance
{
    private static readonly Lock Gate = new();
    private static VulkanInstance? _shared;
    private static bool _isDriverKept;
    private int _users;
    private DebugUtilsMessengerEXT _messenger;

    public Vk Api { get; }

    public Instance Handle { get; }

    public bool HasDebugUtils { get; }

    public bool HasValidation { get; }

    /// <summary>What the validation layers said, newest last; empty when they are off.</summary>
    public static ConcurrentQueue<string> ValidationMessages { get; } = new();

    /// <summary>True when the layer is asked for by FLA_VALIDATION=1.</summary>
    public static bool ValidationWanted => Environment.GetEnvironmentVariable("FLA_VALIDATION") is "1" or "true";

    public static VulkanInstance Acquire()
    {
        lock (Gate)
        {
            _shared ??= new VulkanInstance();
            _shared._users++;
            return _shared;
        }
    }

    public void Release()
    {
        lock (Gate)
        {
            if (--_users > 0) return;
            _shared = null;
            if (_messenger.Handle != 0)
            {
                var destroy = (delegate* unmanaged<Instance, DebugUtilsMessengerEXT, void*, void>)Proc("vkDestroyDebugUtilsMessengerEXT");
                destroy(Handle, _messenger, null);
            }
            Api.DestroyInstance(Handle, null);
            Api.Dispose();
        }
    }

    private VulkanInstance()
    {
        try { Api = Vk.GetApi(); }
        catch (Exception e) when (e is FileNotFoundException or DllNotFoundException or EntryPointNotFoundException)
        {
            throw new DeviceException("no Vulkan loader on this machine (libvulkan.so.1 or vulkan-1.dll): install the GPU's driver, or Mesa's " +
                "(Debian, Ubuntu: apt install libvulkan1 mesa-vulkan-drivers)");
        }
        var layers = Layers();
        var extensions = Extensions();
        HasValidation = ValidationWanted && layers.Contains("VK_LAYER_KHRONOS_validation");
        if (ValidationWanted && !HasValidation)
        {
            throw new DeviceException("FLA_VALIDATION is set but VK_LAYER_KHRONOS_validation is not installed (Debian, Ubuntu: apt install vulkan-validationlayers)");
        }
        HasDebugUtils = HasValidation && extensions.Contains("VK_EXT_debug_utils");
        Handle = Create();
        if (HasDebugUtils) _messenger = CreateMessenger();
    }

    public nint Proc(string name) => (nint)Api.GetInstanceProcAddr(Handle, name).Handle;

    private Instance Create()
    {
        var app = new ApplicationInfo
        {
            SType = StructureType.ApplicationInfo,
            ApiVersion = Vk.Version13,
            PApplicationName = (byte*)SilkMarshal.StringToPtr("Fla.Vulkan"),
            PEngineName = (byte*)SilkMarshal.StringToPtr("Fla.Vulkan"),
        };
        string[] layers = HasValidation ? ["VK_LAYER_KHRONOS_validation"] : [];
        string[] extensions = HasDebugUtils ? ["VK_EXT_debug_utils"] : [];
        var enables = stackalloc[] { ValidationFeatureEnableEXT.SynchronizationValidationExt };
        var features = new ValidationFeaturesEXT
        {
            SType = StructureType.ValidationFeaturesExt,
            EnabledValidationFeatureCount = 1,
            PEnabledValidationFeatures = enables,
        };
        var info = new InstanceCreateInfo
        {
            SType = StructureType.InstanceCreateInfo,
            PApplicationInfo = &app,
            EnabledLayerCount = (uint)layers.Length,
            PpEnabledLayerNames = (byte**)SilkMarshal.StringArrayToPtr(layers),
            EnabledExtensionCount = (uint)extensions.Length,
            PpEnabledExtensionNames = (byte**)SilkMarshal.StringArrayToPtr(extensions),
            PNext = HasValidation ? &features : null,
        };
        var result = Api.CreateInstance(&info, null, out var instance);
        SilkMarshal.Free((nint)app.PApplicationName);
        SilkMarshal.Free((nint)app.PEngineName);
        SilkMarshal.Free((nint)info.PpEnabledLayerNames);
        SilkMarshal.Free((nint)info.PpEnabledExtensionNames);
        if (result == Result.ErrorIncompatibleDriver)
        {
            throw new DeviceException("no Vulkan driver on this machine: install the GPU's driver, or Mesa's (Debian, Ubuntu: apt install mesa-vulkan-drivers)");
        }
        if (result != Result.Success) throw new VulkanException("vkCreateInstance", result);
        if (!_isDriverKept && OperatingSystem.IsLinux()) KeepDriver();
        _isDriverKept = true;
        return instance;
    }

    /// <summary>
    /// Takes a reference to NVIDIA's libraries that is never given back. The loader unloads a driver with the last instance, and NVIDIA's takes static
    /// thread-local storage each time it is loaded that no unloading returns: after some twenty devices, one after another, it could not be loaded any more.
    /// </summary>
    private static void KeepDriver()
    {
        var libraries = File.ReadLines("/proc/self/maps").Select(line => line[(line.LastIndexOf(' ') + 1)..])
            .Where(path => Path.GetFileName(path) is var name && (name.StartsWith("libnvidia-", StringComparison.Ordinal) || name.Contains("_nvidia.so", StringComparison.Ordinal)));
        foreach (var path in libraries.ToHashSet()) NativeLibrary.TryLoad(path, out _);
    }

    private DebugUtilsMessengerEXT CreateMessenger()
    {
        var info = new DebugUtilsMessengerCreateInfoEXT
        {
            SType = StructureType.DebugUtilsMessengerCreateInfoExt,
            MessageSeverity = DebugUtilsMessageSeverityFlagsEXT.ErrorBitExt | DebugUtilsMessageSeverityFlagsEXT.WarningBitExt,
            MessageType = DebugUtilsMessageTypeFlagsEXT.ValidationBitExt,
            PfnUserCallback = new PfnDebugUtilsMessengerCallbackEXT(OnMessage),
        };
        var create = (delegate* unmanaged<Instance, DebugUtilsMessengerCreateInfoEXT*, void*, DebugUtilsMessengerEXT*, Result>)Proc("vkCreateDebugUtilsMessengerEXT");
        DebugUtilsMessengerEXT messenger;
        var result = create(Handle, &info, null, &messenger);
        return result == Result.Success ? messenger : throw new VulkanException("vkCreateDebugUtilsMessengerEXT", result);
    }

    private static readonly DebugUtilsMessengerCallbackFunctionEXT OnMessage = (_, _, data, _) =>
    {
        ValidationMessages.Enqueue(Marshal.PtrToStringUTF8((nint)data->PMessage) ?? "");
        return Vk.False;
    };

    private HashSet<string> Layers()
    {
        uint count = 0;
        Api.EnumerateInstanceLayerProperties(&count, null);
        var all = new LayerProperties[count];
        fixed (LayerProperties* p = all) Api.EnumerateInstanceLayerProperties(&count, p);
        return all.Take((int)count).Select(l => Marshal.PtrToStringUTF8((nint)l.LayerName) ?? "").ToHashSet();
    }

    private HashSet<string> Extensions()
    {
        uint count = 0;
        Api.EnumerateInstanceExtensionProperties((byte*)null, &count, null);
        var all = new ExtensionProperties[count];
        fixed (ExtensionProperties* p = all) Api.EnumerateInstanceExtensionProperties((byte*)null, &count, p);
        var names = new HashSet<string>();
        for (var i = 0; i < count; i++)
        {
            fixed (byte* name = all[i].ExtensionName) names.Add(Marshal.PtrToStringUTF8((nint)name) ?? "");
        }
        return names;
    }
}
