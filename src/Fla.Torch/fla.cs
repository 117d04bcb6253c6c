using Fla.Vulkan.Ops;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch;

/// <summary>fla's operators on TorchSharp tensors, with autograd.</summary>
public static partial class fla
{
    /// <inheritdoc cref="LinearOps.ChunkGla"/>
    public static (Tensor o, Tensor? final_state) chunk_gla(Tensor q, Tensor k, Tensor v, Tensor g, float? scale = null, Tensor? initial_state = null, bool output_final_state = false)
    {
        var r = TorchCall.Run("chunk_gla", TorchDevice.Current, [q, k, v, g, initial_state], t =>
        {
            var (o, s) = LinearOps.ChunkGla(t[0]!, t[1]!, t[2]!, t[3]!, scale, t[4], output_final_state);
            return [o, s];
        });
        return (r[0]!, r[1]);
    }
}
