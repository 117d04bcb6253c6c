namespace Fla.Vulkan;

/// <summary>A driver whose advertised feature is not to be used.</summary>
/// <param name="Where">Which devices, in words.</param>
/// <param name="Feature">The feature's switch name, as in <see cref="DeviceOptions.Disable"/>.</param>
/// <param name="Why">What goes wrong there.</param>
/// <param name="Matches">The test on vendor number, driver text and kind.</param>
public sealed record KnownBadDriver(string Where, string Feature, string Why, Func<uint, string, DeviceKind, bool> Matches);

/// <summary>Drivers that advertise more than they can do. Sources: issue threads of ggml and ncnn, and measurements of this project.</summary>
public static class KnownBadDrivers
{
    private const uint Amd = 0x1002;
    private const uint Intel = 0x8086;

    /// <summary>The table; the first match for a feature decides.</summary>
    public static IReadOnlyList<KnownBadDriver> Table { get; } =
    [
        new("AMD's proprietary driver", "cooperative_matrix", "advertised outside RDNA3 where it is unusable",
            (vendor, driver, _) => vendor == Amd && driver.Contains("proprietary", StringComparison.OrdinalIgnoreCase)),
        new("Intel before Xe2", "cooperative_matrix", "slower than plain arithmetic (8x8x16 shapes only)",
            (vendor, _, kind) => vendor == Intel && kind == DeviceKind.Integrated),
    ];

    internal static KnownBadDriver? Find(uint vendor, string driver, DeviceKind kind, string feature) =>
        Table.FirstOrDefault(bad => bad.Feature == feature && bad.Matches(vendor, driver, kind));
}
