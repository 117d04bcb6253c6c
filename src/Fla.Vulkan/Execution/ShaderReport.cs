namespace Fla.Vulkan;

/// <summary>What a device's compiler made of one shader variant.</summary>
/// <param name="Key">Shader and variant, such as "norm/rms_norm[T=f16]".</param>
/// <param name="Error">Why it does not compile there, null when it does.</param>
/// <param name="Statistics">The driver's figures: registers, spills, shared memory, instructions; the names are the driver's.</param>
public sealed record ShaderReport(string Key, string? Error, IReadOnlyList<PipelineStatistic> Statistics)
{
    private const uint Workgroup = 256;

    /// <summary>Keys of the shader variants of this build that a device could run: those with cooperative matrices only where it has them.</summary>
    public static IReadOnlyList<string> KeysFor(ComputeDevice device) => ShaderLibrary.Keys
        .Where(k => !k.Contains("MM=coopmat", StringComparison.Ordinal)
            || device.MatrixShape(k.Contains("T=bf16", StringComparison.Ordinal) ? DType.BFloat16 : DType.Float16) != null)
        .Order(StringComparer.Ordinal).ToList();

    /// <summary>Registers spilled, summed over the figures whose name speaks of spills.</summary>
    public double Spills => Statistics.Where(s => s.Name.Contains("spill", StringComparison.OrdinalIgnoreCase)).Sum(s => s.Value);

    /// <summary>Compiles every pipeline that some work would launch; nothing is run, so a device that only compiles will do.</summary>
    /// <param name="device">Whose compiler.</param>
    /// <param name="work">The work; it disposes the tensors that it makes.</param>
    /// <param name="wanted">Which, by their keys; all of them when null.</param>
    /// <returns>In the order of the first launch; keys are followed by the specialization constants.</returns>
    public static IReadOnlyList<ShaderReport> Compile(ComputeDevice device, Action work, Func<string, bool>? wanted = null) =>
        device.Stream.PipelinesOf(work).Where(p => wanted?.Invoke(p.Key) ?? true).Select(p => Compile(device, p.Key, p.Spec) with { Key = $"{p.Key} [{string.Join(',', p.Spec)}]" }).ToList();

    /// <summary>Compiles one variant with the specialization constants' defaults, for workgroups of up to 256.</summary>
    /// <param name="device">Whose compiler; without VK_KHR_pipeline_executable_properties there are no statistics.</param>
    /// <param name="key">One of <see cref="KeysFor"/>.</param>
    public static ShaderReport Compile(ComputeDevice device, string key)
    {
        var spec = ShaderLibrary.Reflect(key).DefaultSpec();
        if (spec.Length > 0 && spec[0] == 1) spec[0] = Math.Min(Workgroup, (uint)device.Limits.WorkgroupInvocations);
        return Compile(device, key, spec);
    }

    private static ShaderReport Compile(ComputeDevice device, string key, uint[] spec)
    {
        try
        {
            return new(key, null, device.Pipelines.Statistics(key, spec));
        }
        catch (Exception e) when (e is ShaderException or VulkanException)
        {
            return new(key, e.Message, []);
        }
    }
}
