namespace Fla.Vulkan.Ops;

/// <summary>
/// Cross entropy of rows of logits and their gradients (shaders/loss/cross_entropy.comp): what <see cref="Losses"/> and losses fused with a linear head
/// are made of. Nothing here is recorded on the tape.
/// </summary>
internal static class CrossEntropyRows
{
    private static readonly Kernel<RowArgs> RowKernel = new("loss/cross_entropy");
    private static readonly Kernel<CountArgs> CountKernel = new("loss/count_labels");

    private readonly record struct RowArgs(In Logits, In Labels, Out Loss, Out ZLoss, InOut Lse, Out DLogits, In Upstream, In Divisor, uint Rows, uint Width, uint Lanes, uint LabelType,
        int Ignored, uint UpstreamStride, uint Wide, uint LseGiven, float Scale, float Cap, float Smoothing, float Square, float Warp);

    private readonly record struct CountArgs(In Labels, Out Count, uint N, uint LabelType, int Ignored, uint Least);

    /// <summary>Losses, and gradients where a place for them is given, of a chunk of rows.</summary>
    /// <param name="logits">[R, V].</param>
    /// <param name="labels">[R], i32 or i64.</param>
    /// <param name="options">Reduction is ignored.</param>
    /// <param name="loss">f32 [R], written, or null.</param>
    /// <param name="zLoss">f32 [R], written: the part of the loss that comes from lse²; or null.</param>
    /// <param name="lse">f32 [R], written, or null.</param>
    /// <param name="dlogits">[R, V] in the logits' type, or the logits themselves, which are then overwritten; null for no gradient.</param>
    /// <param name="upstream">Gradient of the losses, f32 [1], [] or [R]; 1 when null.</param>
    /// <param name="divisor">f32 [1] or []: what the upstream gradient is divided by, such as <see cref="Count"/>; 1 when null.</param>
    /// <param name="totalRows">Rows that l2warp divides by: all of the loss, of which this may be a chunk; R when null.</param>
    /// <param name="isLseGiven">lse is read rather than written, which saves a pass over the logits.</param>
    public static void Run(Tensor logits, Tensor labels, CrossEntropyOptions options, Tensor? loss = null, Tensor? zLoss = null, Tensor? lse = null, Tensor? dlogits = null,
        Tensor? upstream = null, Tensor? divisor = null, long? totalRows = null, bool isLseGiven = false)
    {
        options.Check();
        CheckLabels(labels);
        Require.SameDevice(logits, labels, loss, zLoss, lse, dlogits, upstream, divisor);
        Require.Float(logits, nameof(logits));
        var rows = RowLayout.RowCount(logits);
        Require.That(labels.Count == rows, $"labels {labels.Describe()} are not one for each row of the logits {logits.Describe()}");
        var lanes = RowLayout.Lanes(logits.Device, logits.Size(-1));
        RowKernel.Launch(logits.Device, new(logits, labels, loss, zLoss, lse, dlogits, upstream, divisor, RowLayout.Index(rows, logits), (uint)logits.Size(-1), (uint)lanes, RowLayout.TypeCode(labels),
            options.IgnoreIndex, upstream is { Count: > 1 } ? 1u : 0u, RowLayout.Wide(logits.Size(-1), logits, dlogits), isLseGiven ? 1u : 0u, options.LogitScale,
            options.LogitSoftcapping ?? 0, options.LabelSmoothing, options.LseSquareScale, options.L2WarpFactor / (totalRows ?? rows)), RowLayout.Rows(logits.Device, rows, lanes),
            logits.DType.Variant(), RowLayout.RowWorkgroup(logits.Device));
    }

    /// <summary>The number of labels that are not ignored, at least <paramref name="least"/>: f32 [1].</summary>
    public static Tensor Count(Tensor labels, int ignoreIndex, int least = 0)
    {
        CheckLabels(labels);
        var count = Tensor.Empty(labels.Device, DType.Float32, 1);
        CountKernel.Launch(labels.Device, new(labels, count, RowLayout.Index(labels.Count, labels), RowLayout.TypeCode(labels), ignoreIndex, (uint)least), new(1), null, RowLayout.Workgroup);
        return count;
    }

    internal static void CheckLabels(Tensor labels)
    {
        if (labels.DType is not (DType.Int32 or DType.Int64)) throw new DTypeException($"labels are i32 or i64, these are {labels.Describe()}");
    }
}
