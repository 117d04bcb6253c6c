using Fla.Layers;
using Fla.Models.Configs;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models;

/// <summary>
/// A block with attention residuals: mixer and MLP each read a mixture of what came before. The first stream is the sum since the last full group of sub-layers,
/// those after it are the sums of the groups (config: attnres_block_size sub-layers each).
/// </summary>
internal sealed class DepthMixBlock : TwoPartBlock
{
    private readonly int _layer;
    private readonly int _groupSize;
    private readonly DepthMix _mixerResidual;
    private readonly DepthMix _mlpResidual;

    public DepthMixBlock(ComputeDevice device, ModelConfig config, int layer, int groupSize, DType dtype)
        : base(device, config, layer, dtype)
    {
        (_layer, _groupSize) = (layer, groupSize);
        DepthMix Residual(string name) =>
            new(AddModule(name + "_proj", () => DepthMix.Query(device, config.HiddenSize, dtype)), AddModule(name + "_norm", () => config.CreateNorm(device, dtype)));
        _mixerResidual = Residual("attn_res");
        _mlpResidual = Residual("mlp_res");
    }

    public override Tensor[] Forward(Tensor[] streams, MixerContext context)
    {
        using var scope = Device.Scope();
        Tensor? sum = streams[0];
        List<Tensor> groups = [.. streams[1..]];
        Tensor read;
        if (groups.Count == 0)
        {
            read = MixerNorm.Forward(sum);
            Close(ref sum, groups, scope);
        }
        else
        {
            read = _mixerResidual.Forward([.. groups, sum], MixerNorm);
            if (2 * _layer % _groupSize == 0) Close(ref sum, groups, scope);
        }
        var mixed = Mixer.Forward(read, context);
        sum = sum is null ? mixed : Elementwise.Add(sum, mixed);
        read = _mlpResidual.Forward([.. groups, sum], MlpNorm);
        if ((2 * _layer + 1) % _groupSize == 0) Close(ref sum, groups, scope);
        var made = Mlp.Forward(read);
        return [scope.Keep(sum is null ? made : Elementwise.Add(sum, made)), .. groups];
    }

    /// <summary>The sum becomes a group of its own, under a handle of its own: the trunk frees streams that go no further.</summary>
    private static void Close(ref Tensor? sum, List<Tensor> groups, TensorScope scope)
    {
        groups.Add(scope.Keep(sum!.View(sum.Shape)));
        sum = null;
    }
}
