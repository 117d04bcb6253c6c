using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models;

public sealed partial class CausalLM
{
    private const float L2WarpFactor = 1e-4f;

    /// <summary>Throws unless a model can teach this one.</summary>
    /// <exception cref="ShapeException">Another vocabulary.</exception>
    /// <exception cref="DTypeException">Another float type.</exception>
    /// <exception cref="DeviceException">Another device.</exception>
    internal void CheckTeacher(CausalLM teacher)
    {
        if (teacher.Config.VocabSize != Config.VocabSize)
        {
            throw new ShapeException($"the teacher has a vocabulary of {teacher.Config.VocabSize}, the student of {Config.VocabSize}: their predictions cannot be compared");
        }
        if (teacher.DType != DType) throw new DTypeException($"the teacher is in {teacher.DType.ShortName()}, the student in {DType.ShortName()}");
        if (teacher.Device != Device) throw new DeviceException($"the teacher is on {teacher.Device.Name}, the student on {Device.Name}");
    }

    private Tensor Loss(Tensor ids, Tensor states, Tensor? logits, ForwardOptions options)
    {
        var wanted = options.Loss ?? new();
        var shifted = Losses.ShiftLabels(options.Labels!);
        var form = new CrossEntropyOptions
        {
            Reduction = wanted.IsPerToken ? LossReduction.None : LossReduction.Mean,
            LabelSmoothing = wanted.LabelSmoothing,
            LseSquareScale = wanted.ZLoss,
            L2WarpFactor = Config.UseL2Warp ? L2WarpFactor : 0,
            InplaceBackward = logits != null && IsTraining && Config.FuseCrossEntropy,
        };
        var loss = logits == null ? FusedLinearLosses.CrossEntropy(states, shifted, _head, options: form) : Losses.CrossEntropy(logits, shifted, form);
        if (wanted.Teacher is not { } teacher) return loss;
        var divergence = FusedLinearLosses.KlDivergence(states, teacher.States(ids, options), _head, teacher._head.Detach(), temperature: wanted.Temperature);
        return Elementwise.Add(loss, divergence, 1 - wanted.DistillWeight, wanted.DistillWeight * wanted.Temperature * wanted.Temperature);
    }

    /// <summary>The normed states that the head is given, without a tape.</summary>
    private Tensor States(Tensor ids, ForwardOptions options)
    {
        using var noGrad = Autograd.NoGrad();
        return _trunk.Forward(ids, new() { Mask = options.Mask, CuSeqlens = options.CuSeqlens, Mode = options.Mode }, isCheckpointed: false, hidden: null);
    }
}
