using Fla.Testing;
using Fla.Vulkan;
using NUnit.Framework;

namespace Fla.Layers.Tests;

public sealed class LayerCacheTests(TestDevice device) : DeviceTests(device)
{
    [Test]
    public void StatesKeepTheirPlace()
    {
        using var cache = new LayerCache();
        Assert.That(cache.Get("s"), Is.Null);
        using (Device.Scope()) cache.Set("s", Make([1, 2], [1, 2]));
        var held = cache.Get("s")!;
        var address = held.Address;
        using (Device.Scope()) cache.Set("s", Make([3, 4], [1, 2]));
        Assert.That(cache.Get("s"), Is.SameAs(held));
        Assert.That((held.Address, held.ToSingle()), Is.EqualTo((address, new float[] { 3, 4 })));
        Assert.That(cache.ByteCount, Is.EqualTo(8));
        Assert.That(() => cache.Set("s", Make([1, 2, 3], [1, 3])), Throws.TypeOf<ShapeException>());
        cache.Advance(5);
        cache.Clear();
        Assert.That((cache.SeenTokens, cache.Get("s"), cache.ByteCount), Is.EqualTo((0, (Tensor?)null, 0L)));
    }
}
