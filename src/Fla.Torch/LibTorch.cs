using System.Runtime.InteropServices;
using Fla.Vulkan;
using TorchSharp;

namespace Fla.Torch;

/// <summary>TorchSharp's native library is missing, or this system cannot load it.</summary>
public sealed class LibTorchException(string message, Exception? inner = null) : FlaException(message, inner!);

/// <summary>The native half of TorchSharp: whether it is there, and what of libtorch TorchSharp does not show.</summary>
internal static unsafe class LibTorch
{
    /// <summary>What this version of TorchSharp is made for; torch.__version__ would load what is missing.</summary>
    public const string PackageVersion = "2.10.0";

    private static readonly Lazy<Exports> Native = new(() => Load("torch_cpu", "LibTorchSharp"));

    /// <summary>Loads libtorch, or says what is missing.</summary>
    /// <exception cref="LibTorchException">It cannot be loaded.</exception>
    public static void Require() => _ = Native.Value;

    /// <summary>
    /// How often a tensor was written to in place, as PyTorch counts; -1 where nobody counts: an inference tensor, or a libtorch that does not export it.
    /// </summary>
    public static long Version(torch.Tensor tensor)
    {
        var native = Native.Value;
        if (native.Version == 0 || native.IsInference == 0) return -1;
        var isInference = ((delegate* unmanaged<nint, byte>)native.IsInference)(tensor.Handle) != 0;
        return isInference ? -1 : ((delegate* unmanaged<nint, long>)native.Version)(tensor.Handle);
    }

    /// <summary>A tensor over memory of the caller's, which is given back through a function when the last tensor over it is freed.</summary>
    /// <returns>Its handle.</returns>
    public static nint FromMemory(nint address, delegate* unmanaged[Cdecl]<nint, void> giveBack, long* sizes, int axes, torch.ScalarType type)
    {
        var make = (delegate* unmanaged[Cdecl]<nint, delegate* unmanaged[Cdecl]<nint, void>, long*, int, sbyte, sbyte, int, int, byte, nint>)Native.Value.FromMemory;
        return make(address, giveBack, sizes, axes, (sbyte)type, (sbyte)type, (int)DeviceType.CPU, -1, 0);
    }

    /// <summary>A type's name, once libtorch is there to take it.</summary>
    public static string Name(Type type)
    {
        Require();
        return type.Name;
    }

    /// <summary>A seed from PyTorch's generator, so that manual_seed governs this library's parameters too.</summary>
    public static ulong Seed()
    {
        using var drawn = torch.randint(long.MaxValue, new long[] { 1 }, dtype: torch.ScalarType.Int64);
        return (ulong)drawn.item<long>();
    }

    /// <summary>What to do about a library that the system's loader refused with a message.</summary>
    public static string Advice(string refusal)
    {
        var lines = refusal.Split('\n');
        if (Array.Find(lines, line => line.Contains("GLIBCXX_", StringComparison.Ordinal)) is { } line)
        {
            return "TorchSharp's native library needs a newer libstdc++ than this system has: that of GCC 13 (GLIBCXX_3.4.32), as in Debian 13 or Ubuntu 24.04; "
                + $"Debian 12 is too old. Run the application on such a system or in such a container. The loader says: {line.Trim()}";
        }
        var system = OperatingSystem.IsWindows() ? "win-x64" : OperatingSystem.IsMacOS() ? "osx-arm64" : "linux-x64";
        return $"TorchSharp's native library is missing: reference the package libtorch-cpu-{system} {PackageVersion} (or TorchSharp-cpu, or a libtorch-cuda package) in the application. "
            + $"Without it everything but Fla.Torch works. The loader says: {lines[0].Trim()}";
    }

    /// <summary>Loads libtorch's main library and TorchSharp's over it.</summary>
    /// <exception cref="LibTorchException">The second cannot be loaded; why says the first that failed.</exception>
    internal static Exports Load(string libTorch, string libTorchSharp)
    {
        string? refusal = null;
        var torchCpu = TryLoad(libTorch);
        var torchSharp = TryLoad(libTorchSharp);
        if (torchSharp == 0) throw new LibTorchException(Advice(refusal!));
        torch.InitializeDeviceType(DeviceType.CPU);
        return new(Export("_ZNK2at10TensorBase8_versionEv", "?_version@TensorBase@at@@QEBA_JXZ"),
            Export("_ZN2at6native12is_inferenceERKNS_6TensorE", "?is_inference@native@at@@YA_NAEBVTensor@2@@Z"), NativeLibrary.GetExport(torchSharp, "THSTensor_new"));

        nint TryLoad(string name)
        {
            try
            {
                return NativeLibrary.Load(name, typeof(torch).Assembly, null);
            }
            catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
            {
                refusal ??= e.Message;
                return 0;
            }
        }

        nint Export(string itanium, string microsoft) =>
            torchCpu != 0 && NativeLibrary.TryGetExport(torchCpu, OperatingSystem.IsWindows() ? microsoft : itanium, out var address) ? address : 0;
    }

    /// <summary>Functions of libtorch, 0 where it does not export them, and of TorchSharp's library.</summary>
    internal sealed record Exports(nint Version, nint IsInference, nint FromMemory);
}
