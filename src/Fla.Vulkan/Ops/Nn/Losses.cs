namespace Fla.Vulkan.Ops;

/// <summary>Losses over logits.</summary>
public static class Losses
{
    private static readonly Kernel<ShiftArgs> ShiftKernel = new("loss/labels");

    private readonly record struct ShiftArgs(In Labels, Out Shifted, uint Count, uint Length, uint LabelType, int Ignored);

    /// <summary>
    /// Cross entropy: lse − (1−ε) x_y − ε·mean(x) + z for each row, with x = cap·tanh(scale·logits/cap), lse = ln Σ eˣ and z = square·lse².
    /// </summary>
    /// <param name="logits">[..., V].</param>
    /// <param name="labels">One for each row, i32 or i64; a label outside [0, V) that is not ignored has no x_y.</param>
    /// <param name="options">Plain mean cross entropy when null.</param>
    /// <returns>A scalar [], or [R] for <see cref="LossReduction.None"/>, in f32.</returns>
    /// <exception cref="ShapeException">Not one label for each row, or options out of range.</exception>
    /// <exception cref="DTypeException">The logits hold integers, or the labels do not.</exception>
    public static Tensor CrossEntropy(Tensor logits, Tensor labels, CrossEntropyOptions? options = null) => Run(logits, labels, options, wantsZ: false).Loss;

    /// <summary>As <see cref="CrossEntropy"/>, with the part of the loss that comes from lse², for logging: no gradient flows from it.</summary>
    public static (Tensor Loss, Tensor ZLoss) CrossEntropyWithZLoss(Tensor logits, Tensor labels, CrossEntropyOptions? options = null)
    {
        var (loss, z) = Run(logits, labels, options, wantsZ: true);
        return (loss, z!);
    }

    /// <summary>Labels moved one to the left along the last axis, with <paramref name="ignoreIndex"/> in the last column: logits of token t predict token t + 1.</summary>
    /// <param name="labels">[..., T], i32 or i64.</param>
    /// <param name="ignoreIndex">The label of rows that do not count.</param>
    /// <returns>i32 of the same shape.</returns>
    /// <exception cref="DTypeException">The labels are no integers.</exception>
    public static Tensor ShiftLabels(Tensor labels, int ignoreIndex = -100)
    {
        CrossEntropyRows.CheckLabels(labels);
        Require.That(labels.Rank > 0, "a scalar has no labels to shift");
        var shifted = Tensor.EmptyLike(labels, DType.Int32);
        ShiftKernel.Launch(labels.Device, new(labels, shifted, RowLayout.Index(labels.Count, labels), (uint)labels.Size(-1), RowLayout.TypeCode(labels), ignoreIndex),
            Grid.Over(labels.Count, RowLayout.Workgroup), null, RowLayout.Workgroup);
        return shifted;
    }

    private static (Tensor Loss, Tensor? Z) Run(Tensor logits, Tensor labels, CrossEntropyOptions? options, bool wantsZ)
    {
        options ??= new();
        Require.That(logits.Rank > 0 && logits.Size(-1) > 0, $"logits {logits.Describe()} have no classes");
        using var scope = new TensorScope();
        var rows = (int)RowLayout.RowCount(logits);
        var isRecording = Autograd.IsRecording(logits);
        var each = Tensor.Empty(logits.Device, DType.Float32, rows);
        var eachZ = wantsZ ? Tensor.Empty(logits.Device, DType.Float32, rows) : null;
        var lse = isRecording ? Tensor.Empty(logits.Device, DType.Float32, rows) : null;
        CrossEntropyRows.Run(logits, labels, options, each, eachZ, lse);
        var count = options.Reduction == LossReduction.Mean ? CrossEntropyRows.Count(labels, options.IgnoreIndex) : null;
        var loss = Reduce(each);
        if (isRecording)
        {
            Autograd.Record("cross_entropy", [logits], [loss], [logits, labels, lse, count], Backward, options);
        }
        return (scope.Keep(loss), eachZ is null ? null : scope.Keep(Reduce(eachZ)));

        Tensor Reduce(Tensor values) => options.Reduction == LossReduction.None ? values
            : Reductions.Run(values, 1, rows, 1, Reduction.Sum, DType.Float32, [], 1, count);
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        if (dy[0] is not { } given) return [null];
        var options = ctx.State<CrossEntropyOptions>();
        Tensor logits = ctx.Saved(0)!, labels = ctx.Saved(1)!, lse = ctx.Saved(2)!;
        var dlogits = options.InplaceBackward ? logits : Tensor.EmptyLike(logits);
        if (options.InplaceBackward) logits.Storage.Version++;
        CrossEntropyRows.Run(logits, labels, options, lse: lse, dlogits: dlogits, upstream: given.As(DType.Float32), divisor: ctx.Saved(3), isLseGiven: true);
        return [dlogits];
    }
}
