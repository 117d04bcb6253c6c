namespace Fla.Vulkan.Ops;

/// <summary>One call of a norm in its most general form (shaders/norm/norm.comp), with gradients.</summary>
internal sealed record NormCall
{
    private const uint SubtractMeanFlag = 1, GateAfterFlag = 2, GateBeforeFlag = 4, GateSigmoidFlag = 8, WideFlag = 16, ResidualFlag = 32, WeightFlag = 64, BiasFlag = 128, SumFlag = 256,
        StatsFlag = 512, GroupedFlag = 1024, GateGradientFlag = 2048, WeightGradientFlag = 4096, BiasGradientFlag = 8192, LongFlag = 16384,
        FullFlag = 32768;
    private const int ResidualType = 0, WeightType = 4, BiasType = 8, OutputType = 12, SumType = 16, SumGradientType = 20, GradientType = 24, InputType = 28;
    private const int MinRowsPerSlot = 4;

    private static readonly Kernel<ForwardArgs> Forward = new("norm/norm");
    private static readonly Kernel<BackwardArgs> BackwardKernel = new("norm/norm_backward");

    private readonly record struct ForwardArgs(In X, In Residual, In Weight, In Bias, In Gate, Out Y, Out Sum, Out Stats, uint Rows, uint Width, uint Groups,
        float InvCount, float Eps);

    private readonly record struct BackwardArgs(In DY, In S, In Gate, In Weight, In Bias, In Stats, In DSum, Out DX, Out DResidual, Out DGate, InOut DWeight, InOut DBias,
        uint Rows, uint Width, uint Groups, uint Slots, float InvCount);

    private sealed record Saved(int Groups, int Width, uint Flags, float InvCount, DType XType, DType? ResidualType);

    public required string Name { get; init; }

    public required Tensor X { get; init; }

    public Tensor? Weight { get; init; }

    public Tensor? Bias { get; init; }

    public Tensor? Residual { get; init; }

    public Tensor? Gate { get; init; }

    public bool GateIsSigmoid { get; init; }

    public bool GateBeforeNorm { get; init; }

    public int Groups { get; init; } = 1;

    public bool SubtractMean { get; init; }

    /// <summary>The l2 norm: a sum of squares instead of their mean.</summary>
    public bool IsSum { get; init; }

    public float Eps { get; init; }

    public DType? Output { get; init; }

    /// <summary>Computes y.</summary>
    public Tensor Run() => Run(isPrenorm: false, residualInFp32: false).Y;

    /// <summary>Computes y and, if asked for, the sum that was normalised.</summary>
    public (Tensor Y, Tensor? Sum) Run(bool isPrenorm, bool residualInFp32)
    {
        Check();
        var width = X.Size(-1) / Groups;
        var rows = X.Count / Math.Max(1, width);
        var isRecording = Autograd.IsRecording(X, Weight, Bias, Residual, Gate);
        var sumType = Residual?.DType ?? (residualInFp32 ? DType.Float32 : X.DType);
        var isSumNew = Residual != null || sumType != X.DType;
        using var scope = new TensorScope();
        var sum = isSumNew && (isPrenorm || isRecording) ? Tensor.EmptyLike(X, sumType) : null;
        var stats = isRecording ? Tensor.Empty(X.Device, DType.Float32, (int)(SubtractMean ? 2 * rows : rows)) : null;
        var y = Tensor.EmptyLike(X, Output);
        var flags = (SubtractMean ? SubtractMeanFlag : 0) | (Gate == null ? 0 : GateBeforeNorm ? GateBeforeFlag : GateAfterFlag) | (GateIsSigmoid ? GateSigmoidFlag : 0);
        var invCount = IsSum ? 1 : 1f / width;
        var types = (RowLayout.TypeCode(Residual) << ResidualType) | (RowLayout.TypeCode(Weight) << WeightType) | (RowLayout.TypeCode(Bias) << BiasType)
            | (RowLayout.TypeCode(y) << OutputType) | (RowLayout.TypeCode(sum) << SumType) | (RowLayout.TypeCode(X) << InputType);
        var plan = NormPlan.Of(X.Device, width);
        var has = Has(ResidualFlag, Residual) | Has(WeightFlag, Weight) | Has(BiasFlag, Bias) | Has(SumFlag, sum) | Has(StatsFlag, stats) | (Groups > 1 ? GroupedFlag : 0)
            | Layout(plan, width, RowLayout.AreOcts(width, X, Residual, Weight, Bias, Gate, y, sum));
        Forward.Launch(X.Device, new(X, Residual, Weight, Bias, Gate, y, sum, stats, RowLayout.Index(rows, X), (uint)width, (uint)Groups, invCount, Eps),
            Grid.Over(rows, plan.SlotsPerWorkgroup * plan.Rows), null, plan.Spec(flags | has, types));
        if (isRecording)
        {
            Autograd.Record(Name, [X, Weight, Bias, Residual, Gate], isPrenorm && sum != null ? [y, sum] : [y], [sum ?? X, Weight, Bias, Gate, stats], Backward,
                new Saved(Groups, width, flags, invCount, X.DType, Residual?.DType));
        }
        scope.Keep(y);
        if (!isPrenorm) return (y, null);
        return (y, scope.Keep(sum ?? X.View(X.Shape)));
    }

    /// <summary>Records y = x / √(Σx² + eps) that another kernel has made, with 1 / √(Σx² + eps) of every row.</summary>
    public static void RecordL2Norm(Tensor x, Tensor y, Tensor lengths) =>
        Autograd.Record("l2norm", [x, null, null, null, null], [y], [x, null, null, null, lengths], Backward, new Saved(1, x.Size(-1), 0, 1, x.DType, null));

    private void Check()
    {
        Require.SameDevice(X, Weight, Bias, Residual, Gate);
        foreach (var (tensor, name) in new[] { (X, "x"), (Weight, "weight"), (Bias, "bias"), (Residual, "residual"), (Gate, "the gate") }) Require.Float(tensor, name);
        Require.That(X.Rank > 0 && X.Size(-1) > 0, $"x {X.Describe()} has nothing to normalise along its last axis");
        Require.That(Groups > 0 && X.Size(-1) % Groups == 0, $"{X.Size(-1)} channels do not divide into {Groups} groups");
        Require.Shape(Weight, "weight", X.Size(-1));
        Require.Shape(Bias, "bias", X.Size(-1));
        Require.Shape(Residual, "residual", X.Shape);
        Require.Shape(Gate, "the gate", X.Shape);
        Require.Type(Gate, X.DType, "the gate");
        Require.That(float.IsFinite(Eps) && Eps >= 0, $"eps must be a finite number from 0 on, not {Eps}");
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        var (groups, width, flags, invCount, xType, residualType) = ctx.State<Saved>();
        var dsum = dy.Length > 1 ? dy[1] : null;
        if (dy[0] is not { } given) return [dsum?.As(xType), null, null, residualType is { } r ? dsum?.As(r) : null, null];

        Tensor s = ctx.Saved(0)!, stats = ctx.Saved(4)!;
        Tensor? weight = ctx.Saved(1), bias = ctx.Saved(2), gate = ctx.Saved(3);
        var device = s.Device;
        var rows = s.Count / width;
        var dx = Tensor.EmptyLike(s, xType);
        var dresidual = ctx.Needs(3) && residualType != xType ? Tensor.EmptyLike(s, residualType) : null;
        var dgate = ctx.Needs(4) ? Tensor.EmptyLike(s, xType) : null;
        var types = ((uint)(residualType ?? DType.Float32) << ResidualType) | (RowLayout.TypeCode(weight) << WeightType) | (RowLayout.TypeCode(bias) << BiasType)
            | (RowLayout.TypeCode(s) << SumType) | (RowLayout.TypeCode(dsum) << SumGradientType) | (RowLayout.TypeCode(given) << GradientType) | ((uint)xType << InputType);
        var plan = NormPlan.Of(device, width);
        var slots = plan.Slots(device, rows, groups, ctx.Needs(1) || ctx.Needs(2) ? MinRowsPerSlot : 1);
        using var weights = ctx.Needs(1) ? Tensor.Empty(device, DType.Float32, slots / groups, groups * width) : null;
        using var biases = ctx.Needs(2) ? Tensor.Empty(device, DType.Float32, slots / groups, groups * width) : null;
        var has = Has(ResidualFlag, dresidual) | Has(WeightFlag, weight) | Has(BiasFlag, bias) | Has(SumFlag, dsum) | Has(GateGradientFlag, dgate) | Has(WeightGradientFlag, weights)
            | Has(BiasGradientFlag, biases) | Layout(plan, width, RowLayout.AreOcts(width, given, s, gate, weight, bias, dsum, dx, dresidual, dgate));
        BackwardKernel.Launch(device, new(given, s, gate, weight, bias, stats, dsum, dx, dresidual, dgate, weights, biases, (uint)rows, (uint)width, (uint)groups, (uint)slots, invCount),
            Grid.Over(slots, plan.SlotsPerWorkgroup), null, plan.Spec(flags | has, types));
        Tensor? dweight = Total(weights, weight), dbias = Total(biases, bias);
        return [dx, dweight, dbias, ctx.Needs(3) ? dresidual ?? dx : null, dgate];
    }

    private static uint Layout(NormPlan plan, int width, bool areOcts) =>
        (areOcts ? WideFlag : 0) | (areOcts && plan.IsFull(width) ? FullFlag : 0) | (plan.IsLong(width) ? LongFlag : 0);

    private static uint Has(uint flag, Tensor? tensor) => tensor is null ? 0 : flag;

    private static Tensor? Total(Tensor? partial, Tensor? parameter) =>
        partial is null ? null : Reductions.Run(partial, 1, partial.Size(0), partial.Size(1), Reduction.Sum, parameter!.DType, parameter.Shape);
}
