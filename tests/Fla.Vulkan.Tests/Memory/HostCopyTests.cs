using NUnit.Framework;

namespace Fla.Vulkan.Tests.Memory;

public sealed class HostCopyTests
{
    [TestCase(0, 4)]
    [TestCase(1000, 4)]
    [TestCase((4 << 20) + 13, 1)]
    [TestCase((4 << 20) + 13, 3)]
    [TestCase((4 << 20) + 13, 4)]
    [TestCase(2 << 20, 4)]
    public unsafe void EveryByteIsCopiedAndNoOther(int size, int threads)
    {
        var source = new byte[size + 64];
        new Random(size).NextBytes(source);
        var target = new byte[size + 64];
        fixed (byte* from = source)
        fixed (byte* to = target)
        {
            HostCopy.Run((nint)from, (nint)to, size, threads);
        }
        Assert.That(target.AsSpan(0, size).SequenceEqual(source.AsSpan(0, size)));
        Assert.That(target.AsSpan(size).IndexOfAnyExcept((byte)0), Is.EqualTo(-1));
    }
}
