namespace Fla.Vulkan.Ops;

/// <summary>Checks of packed sequences against tokens [B, T, ...].</summary>
internal static class TokenSequences
{
    /// <exception cref="DeviceException">The boundaries live elsewhere.</exception>
    /// <exception cref="ShapeException">They do not cover the tokens, or the tokens have a batch.</exception>
    public static void Check(Tensor x, CuSeqlens? cuSeqlens)
    {
        if (cuSeqlens is null) return;
        if (cuSeqlens.Device != x.Device) throw new DeviceException($"cuSeqlens lives on {cuSeqlens.Device.Name}, x on {x.Device.Name}");
        Require.That(x.Size(0) == 1, $"cuSeqlens packs sequences into one batch row: B must be 1, not {x.Size(0)}");
        Require.That(cuSeqlens.Length == x.Size(1), $"cuSeqlens ends at {cuSeqlens.Length}, x has {x.Size(1)} tokens");
    }
}
