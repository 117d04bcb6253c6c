using Fla.Layers;
using Fla.Models.Configs;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models;

/// <summary>
/// A block with attention residuals: mixer and MLP each read a mixture of what came before. The first stream is the sum since the last full group of sub-layers,
/// those after it are the sums of the groups (config: attnres_block_size sub-layers each).
/// </summary>
internal sealed class DepthMixBlock : Block
{
    private readonly int _layer;
    private readonly int _groupSize;
    private readonly Norm _mixerNorm;
    private readonly TokenMixer _mixer;
    private readonly Norm _mlpNorm;
    private readonly GatedMlp _mlp;
    private readonly DepthMix _mixerResidual;
    private readonly DepthMix _mlpResidual;

    public DepthMixBlock(ComputeDevice device, ModelConfig config, int layer, int groupSize, DType dtype)
        : base(device, dtype)
    {
        (_layer, _groupSize) = (layer, groupSize);
        _mixerNorm = AddModule("attn_norm", () => config.CreateNorm(device, dtype));
        _mixer = AddModule("attn", () => config.MixerAt(device, layer, dtype));
        _mlpNorm = AddModule("mlp_norm", () => config.CreateNorm(device, dtype));
        _mlp = AddModule("mlp", () => new GatedMlp(device, config.HiddenSize, config.MlpWidth, config.HiddenAct, dtype));
        DepthMix Residual(string name) =>
            new(AddModule(name + "_proj", () => DepthMix.Query(device, config.HiddenSize, dtype)), AddModule(name + "_norm", () => config.CreateNorm(device, dtype)));
        _mixerResidual = Residual("attn_res");
        _mlpResidual = Residual("mlp_res");
    }

    public override bool UsesCuSeqlens => _mixer.UsesCuSeqlens;

    public override Tensor[] Forward(Tensor[] streams, MixerContext context)
    {
        using var scope = Device.Scope();
        Tensor? sum = streams[0];
        List<Tensor> groups = [.. streams[1..]];
        Tensor read;
        if (groups.Count == 0)
        {
            read = _mixerNorm.Forward(sum);
            Close(ref sum, groups, scope);
        }
        else
        {
            read = _mixerResidual.Forward([.. groups, sum], _mixerNorm);
            if (2 * _layer % _groupSize == 0) Close(ref sum, groups, scope);
        }
        var mixed = _mixer.Forward(read, context);
        sum = sum is null ? mixed : Elementwise.Add(sum, mixed);
        read = _mlpResidual.Forward([.. groups, sum], _mlpNorm);
        if ((2 * _layer + 1) % _groupSize == 0) Close(ref sum, groups, scope);
        var made = _mlp.Forward(read);
        return [scope.Keep(sum is null ? made : Elementwise.Add(sum, made)), .. groups];
    }

    /// <summary>The sum becomes a group of its own, under a handle of its own: the trunk frees streams that go no further.</summary>
    private static void Close(ref Tensor? sum, List<Tensor> groups, TensorScope scope)
    {
        groups.Add(scope.Keep(sum!.View(sum.Shape)));
        sum = null;
    }
}
