using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Fla.Vulkan;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch;

/// <summary>Tensors made of pooled host memory, which goes back to its pool when PyTorch frees the last tensor over it.</summary>
internal static unsafe class LentTensors
{
    private static readonly ConcurrentDictionary<nint, HostRange> Lent = new();

    /// <summary>Ranges that PyTorch holds.</summary>
    public static int Count => Lent.Count;

    /// <summary>A tensor over a range, with the values that are there.</summary>
    public static Tensor Make(HostRange range, long[] shape, ScalarType type)
    {
        Lent[range.Address] = range;
        nint handle;
        fixed (long* sizes = shape) handle = LibTorch.FromMemory(range.Address, &Return, sizes, shape.Length, type);
        return Tensor.UnsafeCreateTensor(handle);
    }

    /// <summary>Called by PyTorch, on any thread.</summary>
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Return(nint address)
    {
        if (Lent.TryRemove(address, out var range)) range.Give();
    }
}
