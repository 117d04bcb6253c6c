using Fla.Testing;
using NUnit.Framework;

namespace Fla.Vulkan.Tests.Execution;

public sealed class KernelTests(TestDevice device) : DeviceTests(device)
{
    private readonly record struct Right(In X, InOut Y, uint N, uint XType, uint YType, uint Mode, float S);

    private readonly record struct TooShort(In X, InOut Y, uint N);

    private readonly record struct WrongOrder(uint N, In X, InOut Y, uint XType, uint YType, uint Mode, float S);

    private readonly record struct WrongKind(In X, ulong Y, uint N, uint XType, uint YType, uint Mode, float S);

    private readonly record struct NotBlittable(In X, InOut Y, byte N);

    [Test]
    public void ArgumentsThatDoNotMatchTheShaderAreRefused()
    {
        var x = Make([1, 2], [2]);
        new Kernel<Right>("tensor/cast").Launch(Device, new(x, x, 2, 0, 0, 1, 1), new(1), null, 64);
        Assert.That(x.ToSingle(), Is.EqualTo(new float[] { 2, 4 }));
        Assert.That(() => new Kernel<TooShort>("tensor/cast").Launch(Device, default, new(1), null, 65), Throws.TypeOf<ShaderException>());
        Assert.That(() => new Kernel<WrongOrder>("tensor/cast").Launch(Device, default, new(1), null, 65), Throws.TypeOf<ShaderException>());
        Assert.That(() => new Kernel<WrongKind>("tensor/cast").Launch(Device, default, new(1), null, 65), Throws.TypeOf<ShaderException>());
        Assert.That(() => new Kernel<NotBlittable>("tensor/cast"), Throws.TypeOf<ShaderException>());
    }

    [Test]
    public void UnknownShadersAndMissingConstantsAreRefused()
    {
        Assert.That(() => new Kernel<Right>("tensor/none").Launch(Device, default, new(1), null, 64), Throws.TypeOf<ShaderException>());
        Assert.That(() => new Kernel<Right>("tensor/cast").Launch(Device, default, new(1), "T=f64", 64), Throws.TypeOf<ShaderException>());
        Assert.That(() => new Kernel<Right>("tensor/cast").Launch(Device, default, new(1)), Throws.TypeOf<ShaderException>());
        Assert.That(() => new Kernel<Right>("tensor/cast").Launch(Device, default, new(1), null, 1 << 20), Throws.TypeOf<ShaderException>());
    }

    [Test]
    public void AnAddressThatIsNoTensorIsRefused()
    {
        var freed = Make([1], [1]);
        var address = freed.Address;
        freed.Dispose();
        var y = Make([1], [1]);
        Assert.That(() => new Kernel<Right>("tensor/cast").Launch(Device, new(new In(address + (1ul << 40)), y, 1, 0, 0, 1, 1), new(1), null, 64),
            Throws.TypeOf<InvalidOperationException>());
    }

    [TestCase(0, 0u, 1u)]
    [TestCase(65535, 65535u, 1u)]
    [TestCase(65536, 32768u, 2u)]
    public void GridsFold(long count, uint x, uint y) => Assert.That(Grid.Linear(count), Is.EqualTo(new Grid(x, y)));
}
