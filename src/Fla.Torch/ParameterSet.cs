using System.Runtime.InteropServices;
using Fla.Vulkan;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using DeviceTensor = Fla.Vulkan.Tensor;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch;

/// <summary>
/// Parameters that PyTorch owns and a device module computes with. They are uploaded when PyTorch's version counter says that they changed; what writes past
/// the counter (module.load, bytes, accessors) is noticed by a sample of their words.
/// </summary>
internal abstract class ParameterSet
{
    private readonly Lock _gate = new();

    /// <summary>Where they are computed with.</summary>
    public abstract ComputeDevice Device { get; }

    /// <summary>Number of parameters.</summary>
    public int Count => Slots.Count;

    /// <summary>The gradients' places on the tape, null for parameters that want none.</summary>
    public IEnumerable<GradLeaf?> Leaves => Slots.Select(slot => slot.OnDevice.Edge.Leaf);

    /// <summary>Uploads that were needed so far.</summary>
    public long Uploads { get; private set; }

    /// <summary>PyTorch's parameters and their places on the device.</summary>
    protected IReadOnlyList<Slot> Slots { get; set; } = [];

    /// <summary>Brings the device up to date.</summary>
    /// <returns>PyTorch's parameters.</returns>
    public Tensor[] Synchronize()
    {
        lock (_gate)
        {
            var hosts = Slots.Select(slot => (Tensor)slot.Host()).ToArray();
            Prepare(hosts);
            for (var i = 0; i < hosts.Length; i++)
            {
                var slot = Slots[i];
                var stamp = Stamp.Of(hosts[i]);
                if (stamp.Version < 0 || stamp != slot.Stamp)
                {
                    Crossing.Upload(hosts[i], slot.OnDevice);
                    slot.Stamp = stamp;
                    Uploads++;
                }
                if (slot.OnDevice.RequiresGrad != hosts[i].requires_grad) slot.OnDevice.RequiresGrad = hosts[i].requires_grad;
            }
            return hosts;
        }
    }

    /// <summary>Makes places on the device for parameters that were converted.</summary>
    protected abstract void Prepare(Tensor[] hosts);

    /// <summary>A parameter on both sides.</summary>
    protected sealed class Slot(string name, Func<Parameter> host, DeviceTensor onDevice)
    {
        public string Name { get; } = name;

        public Func<Parameter> Host { get; } = host;

        public DeviceTensor OnDevice { get; } = onDevice;

        public Stamp Stamp { get; set; }
    }

    /// <summary>What tells one content of a parameter from another.</summary>
    protected readonly record struct Stamp(nint Handle, long Version, ulong Sample)
    {
        private const int Words = 64;

        public static Stamp Of(Tensor tensor)
        {
            var sample = 0ul;
            var step = 0;
            if (tensor.device_type == DeviceType.CPU && tensor.is_contiguous() && tensor.numel() > 0)
            {
                var words = MemoryMarshal.Cast<byte, ulong>(tensor.bytes);
                step = Math.Max(1, words.Length / Words);
                for (var i = 0; i < words.Length; i += step) sample = (sample ^ words[i]) * 0x9E3779B97F4A7C15 + 1;
            }
            return new(tensor.Handle, step == 0 ? -1 : LibTorch.Version(tensor), sample);
        }
    }
}
