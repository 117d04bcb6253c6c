using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Fla.Vulkan;

/// <summary>
/// A compute shader with typed arguments. Declared once, in a static field beside the operator that uses it; launching is one call.
/// The shader's argument block is checked against <typeparamref name="TArgs"/> when a pipeline is first made from it.
/// </summary>
/// <typeparam name="TArgs">The argument block: <see cref="In"/>, <see cref="Out"/>, <see cref="InOut"/>, then 4-byte scalars, in the shader's order.</typeparam>
/// <param name="shader">Path under shaders/ without extension, such as "norm/rms_norm".</param>
public sealed class Kernel<TArgs>(string shader) where TArgs : unmanaged
{
    private readonly ArgumentLayout _layout = ArgumentLayout.Of<TArgs>();

    /// <summary>Path of the shader under shaders/.</summary>
    public string Shader { get; } = shader;

    /// <summary>Records the kernel on the device's stream.</summary>
    /// <param name="device">Where its tensors live.</param>
    /// <param name="args">Addresses and scalars.</param>
    /// <param name="grid">Workgroups; an empty grid records nothing.</param>
    /// <param name="variant">The compiled variant, such as "T=f16,MM=coopmat"; null for a shader without variants.</param>
    /// <param name="spec">Specialization constants from id 0 on: first the workgroup size.</param>
    /// <exception cref="ShaderException">No such variant, arguments that do not match, or more shared memory than the device has.</exception>
    public void Launch(ComputeDevice device, in TArgs args, Grid grid, string? variant = null, params ReadOnlySpan<uint> spec)
    {
        if (grid.IsEmpty) return;
        var key = variant == null ? Shader : $"{Shader}[{variant}]";
        if (device.Stream.IsRehearsing)
        {
            device.Stream.NoteRehearsed(key, spec);
            return;
        }
        var pipeline = device.Pipelines.Get(key, spec, _layout, typeof(TArgs));
        var bytes = MemoryMarshal.AsBytes(new ReadOnlySpan<TArgs>(in args));
        device.Stream.Dispatch(pipeline, bytes, _layout, grid);
    }
}
