namespace Fla.Torch;

/// <summary>
/// Operators and losses on TorchSharp tensors, with autograd, under fla's names: <c>using static Fla.Torch.fla;</c>, then <c>var (o, state) = chunk_gla(q, k, v, g);</c>.
/// They run on the thread's Vulkan device (<see cref="TorchDevice"/>), on tensors in the CPU's memory of float32, float16 or bfloat16, with any strides. float64 is
/// refused: the device computes in fp32, and a derivative check in float64 would find only the rounding. The members are written when the library is built, from the
/// operators that Fla.Vulkan has.
/// </summary>
public static partial class fla;
