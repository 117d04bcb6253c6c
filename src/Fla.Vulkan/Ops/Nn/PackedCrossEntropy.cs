namespace Fla.Vulkan.Ops;

/// <summary>
/// Plain cross entropy of logits that a product has left as fragments (<see cref="PackedProduct.Chained"/>), with gradients as fragments for the products that follow: no
/// logit is ever written in rows (shaders/loss/packed_*.comp).
/// </summary>
internal static class PackedCrossEntropy
{
    /// <summary>Columns of a piece, about: enough pieces for every multiprocessor, long enough to be worth a workgroup.</summary>
    private const int PieceColumns = 1024;

    /// <summary>Labels are compared as floats.</summary>
    private const int MostClasses = 1 << 24;

    private static readonly Kernel<SumsArgs> SumsKernel = new("loss/packed_sums");
    private static readonly Kernel<LossArgs> LossKernel = new("loss/packed_loss");
    private static readonly Kernel<GradientArgs> GradientKernel = new("loss/packed_gradients");

    private readonly record struct SumsArgs(In Logits, Out Sums, uint Blocks, uint Width, uint Pieces, uint StepsPerPiece);

    private readonly record struct LossArgs(In Logits, In Sums, In Labels, Out Loss, Out Lse, Out Target, uint Rows, uint Width, uint Pieces, uint LabelType, int Ignored);

    private readonly record struct GradientArgs(InOut Logits, Out Transposed, In Lse, In Target, uint Rows, uint Width);

    /// <summary>Whether the loss is plain enough, and the device can.</summary>
    public static bool Can(ComputeDevice device, DType type, int classes, CrossEntropyOptions options) => PackedProduct.CanChain(device, type) && classes < MostClasses
        && options is { LabelSmoothing: 0, LogitScale: 1, LseSquareScale: 0, LogitSoftcapping: null, L2WarpFactor: 0 };

    /// <summary>Losses of a chunk of rows, and their gradients for an upstream gradient of one.</summary>
    /// <param name="logits">[rows, classes]; overwritten by their gradients where a place for the transpose is given or <paramref name="wantsGradient"/>.</param>
    /// <param name="labels">[rows], i32 or i64.</param>
    /// <param name="ignored">The label of rows that give 0.</param>
    /// <param name="loss">f32 [rows], written.</param>
    /// <param name="wantsGradient">Gradients take the logits' place.</param>
    /// <param name="transposed">[classes, rows]: the gradients once more; or null.</param>
    public static void Run(PackedOperand logits, Tensor labels, int ignored, Tensor loss, bool wantsGradient, PackedOperand? transposed)
    {
        var (device, type) = (logits.Data.Device, logits.Data.DType);
        var step = device.MatrixShape(type)!.Value.K;
        var (blocks, steps) = (PackedOperand.BlocksOf(logits.Rows), (logits.K + step - 1) / step);
        var stepsPerPiece = PieceColumns / step;
        var pieces = (steps + stepsPerPiece - 1) / stepsPerPiece;
        var (variant, workgroup) = ($"{type.Variant()},MM=coopmat", PackedProduct.Workgroup(device));
        var spec = TileProduct.Spec(device, type, PackedOperand.Block, PackedOperand.Block, workgroup);
        using var sums = Tensor.Empty(device, DType.Float32, blocks * PackedOperand.Block, pieces, 2);
        using var lse = Tensor.Empty(device, DType.Float32, blocks * PackedOperand.Block);
        using var target = Tensor.EmptyLike(lse);
        SumsKernel.Launch(device, new(logits.Data, sums, (uint)blocks, (uint)logits.K, (uint)pieces, (uint)stepsPerPiece), Grid.Linear((long)blocks * pieces), variant, spec);
        LossKernel.Launch(device, new(logits.Data, sums, labels, loss, lse, target, (uint)logits.Rows, (uint)logits.K, (uint)pieces, RowLayout.TypeCode(labels), ignored),
            Grid.Over(lse.Count, (int)workgroup / device.SubgroupSize), variant, spec);
        if (!wantsGradient) return;
        var tiles = (long)PackedOperand.BlocksOf(PackedOperand.Depth(logits.Rows)) * PackedOperand.BlocksOf(PackedOperand.Depth(logits.K));
        GradientKernel.Launch(device, new(logits.Data, transposed?.Data ?? logits.Data, lse, target, (uint)logits.Rows, (uint)logits.K), Grid.Linear(tiles), variant,
            [.. spec, transposed is null ? 0u : 1]);
    }
}
