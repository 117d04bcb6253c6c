using System.Runtime.InteropServices;
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

    /// <summary>What is longer than push constants goes through memory, and nothing else does.</summary>
    [Test]
    public void BlocksAreWhereTheirLengthPutsThem()
    {
        ShaderLibrary.Add("tests/long_push_constants", Module(17, hasPointer: false));
        ShaderLibrary.Add("tests/short_pointer", Module(2, hasPointer: true));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => new Kernel<Seventeen>("tests/long_push_constants").Launch(Device, default, new(1)), Throws.TypeOf<ShaderException>().With.Message.Contains("136 bytes"));
            Assert.That(() => new Kernel<Two>("tests/short_pointer").Launch(Device, default, new(1)), Throws.TypeOf<ShaderException>().With.Message.Contains("16 bytes"));
        }
    }

    private readonly record struct Two(ulong A, ulong B);

    private readonly record struct Seventeen(
        ulong A, ulong B, ulong C, ulong D, ulong E, ulong F, ulong G, ulong H, ulong I, ulong J, ulong K, ulong L, ulong M, ulong N, ulong O, ulong P, ulong Q);

    /// <summary>SPIR-V with nothing but a push-constant block of so many 64-bit numbers, or of a pointer to them.</summary>
    private static byte[] Module(int members, bool hasPointer)
    {
        const uint Integer = 1, Struct = 2, Pointer = 3, Block = 4, BlockPointer = 5, Variable = 6;
        List<uint> words = [0x07230203, 0x00010600, 0, 7, 0];
        void Op(uint code, params uint[] operands) => words.AddRange([(uint)(operands.Length + 1) << 16 | code, .. operands]);
        for (var i = 0u; i < members; i++) Op(72, Struct, i, 35, 8 * i);
        Op(72, Block, 0, 35, 0);
        Op(21, Integer, 64, 0);
        Op(30, [Struct, .. Enumerable.Repeat(Integer, members)]);
        Op(32, Pointer, 5349, Struct);
        Op(30, Block, Pointer);
        Op(32, BlockPointer, 9, hasPointer ? Block : Struct);
        Op(59, BlockPointer, Variable, 9);
        return MemoryMarshal.AsBytes<uint>(words.ToArray()).ToArray();
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
