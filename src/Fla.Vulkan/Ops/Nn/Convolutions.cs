using System.Numerics;

namespace Fla.Vulkan.Ops;

/// <summary>What follows a short convolution.</summary>
public enum ConvolutionActivation
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>x·σ(x), also called swish.</summary>
    Silu,
}

/// <summary>Short causal convolutions over time.</summary>
public static class Convolutions
{
    /// <summary>The most taps a short convolution can have.</summary>
    public const int MaxTaps = 16;

    private const uint WideFlag = 1, SiluFlag = 2, BiasFlag = 4, ResidualFlag = 8, StateFlag = 16, FinalFlag = 32, SumsFlag = 64, WholeFlag = 128, LoopedFlag = 256;
    private const int BiasType = 8, WeightType = 4, StateType = 12, OutputType = 16, FinalType = 20;

    /// <summary>Invocations that fill a large device, and tokens that an invocation then has at most: backward, enough to pay for its sums.</summary>
    private const int FillingInvocations = 1 << 18, CpuFillingInvocations = 1 << 12, MostTokens = 16, MostTokensBackward = 256;

    private static readonly Kernel<ForwardArgs> Forward = new("conv/short_conv");
    private static readonly Kernel<BackwardArgs> BackwardKernel = new("conv/short_conv_backward");
    private static readonly Kernel<StepArgs> Step = new("conv/short_conv_step");

    private readonly record struct ForwardArgs(In X, In Weight, In Bias, In Residual, In State, Out Y, In Starts,
        uint Tokens, uint Channels, uint Span, uint Sequences, uint Run);

    private readonly record struct BackwardArgs(In DY, In X, In Weight, In Bias, In State, In DFinal, Out DX, Out DWeight, Out DBias, In Starts,
        uint Tokens, uint Channels, uint Span, uint Sequences, uint Run);

    private readonly record struct StepArgs(In X, In Weight, In Bias, In Residual, InOut State, Out Y, uint Sequences, uint Channels, uint Taps, uint IsSilu, uint Types);

    private enum Mode : uint
    {
        Tokens,
        State,
    }

    /// <summary>
    /// Depthwise causal convolution, within each sequence: y_t = act(Σ_w weight[w]·x_{t−W+1+w} + bias) + residual_t. The last tap meets the current token; tokens before
    /// the first come from the initial state. Gradients flow to x, weight, bias, residual and the initial state, also from the final state.
    /// </summary>
    /// <param name="x">f32, f16 or bf16 [B,T,C].</param>
    /// <param name="weight">[C,1,W] or [C,W], any float type; W is at most <see cref="MaxTaps"/>.</param>
    /// <param name="bias">[C], any float type.</param>
    /// <param name="residual">[B,T,C] of x's type, added after the activation.</param>
    /// <param name="activation">What follows the sum.</param>
    /// <param name="initialState">[N,C,W], any float type: the last W inputs before each sequence, oldest first. N is B, or the number of packed sequences.</param>
    /// <param name="outputFinalState">Whether to return the last W inputs of each sequence.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B is then 1.</param>
    /// <param name="mask">[B,T], any float type: inputs are multiplied by it, so 0 hides padding. Not with packed sequences.</param>
    /// <returns>y [B,T,C] in x's type; the final state [N,C,W] in the initial state's type, or x's without one, or null.</returns>
    /// <exception cref="ShapeException">Sizes that do not fit, or a mask with packed sequences.</exception>
    /// <exception cref="DTypeException">Integers, or a residual of another type than x.</exception>
    public static (Tensor Y, Tensor? FinalState) ShortConvolution(Tensor x, Tensor weight, Tensor? bias = null, Tensor? residual = null,
        ConvolutionActivation activation = ConvolutionActivation.Silu, Tensor? initialState = null, bool outputFinalState = false,
        CuSeqlens? cuSeqlens = null, Tensor? mask = null)
    {
        Require.SameDevice(x, weight, bias, residual, initialState, cuSeqlens?.Starts, mask);
        Require.Rank(x, 3, "x");
        var call = Call.Of(x, weight, bias, residual, activation, cuSeqlens.SequencesOf(x), x.Size(1));
        Require.Float(initialState, "initialState");
        Require.Shape(initialState, "initialState", call.Sequences, call.Channels, call.Taps);
        if (mask is null) return Convolve(call, x, weight, bias, residual, initialState, outputFinalState, cuSeqlens?.Starts);

        Require.That(cuSeqlens is null, "a mask and cuSeqlens exclude each other");
        Require.Float(mask, "mask");
        Require.Shape(mask, "mask", x.Size(0), x.Size(1));
        using var column = mask.View(x.Size(0), x.Size(1), 1);
        using var seen = Elementwise.Mul(x, column);
        return Convolve(call, seen, weight, bias, residual, initialState, outputFinalState, null);
    }

    /// <summary>
    /// One token for each sequence: the state moves left by one, takes x in, and y = act(Σ_w weight[w]·state[w] + bias) + residual. The state changes in place, so a captured
    /// graph carries it from replay to replay. Not differentiable.
    /// </summary>
    /// <param name="x">N·C elements under any shape whose last axis is C, such as [N,1,C] or [1,N,C].</param>
    /// <param name="state">[N,C,W], any float type.</param>
    /// <param name="weight">[C,1,W] or [C,W].</param>
    /// <param name="bias">[C].</param>
    /// <param name="residual">Of x's shape and type.</param>
    /// <param name="activation">What follows the sum.</param>
    /// <returns>Of x's shape and type.</returns>
    /// <exception cref="ShapeException">Sizes that do not fit.</exception>
    /// <exception cref="DTypeException">Integers, or a residual of another type than x.</exception>
    /// <exception cref="AutogradException">A gradient would be needed: use <see cref="ShortConvolution"/>, or turn recording off.</exception>
    public static Tensor ShortConvolutionStep(Tensor x, Tensor state, Tensor weight, Tensor? bias = null, Tensor? residual = null,
        ConvolutionActivation activation = ConvolutionActivation.Silu)
    {
        Require.SameDevice(x, weight, state, bias, residual);
        Require.That(x.Rank > 0, "x needs an axis of channels");
        var sequences = (int)RowLayout.Index(RowLayout.RowCount(x), x);
        var call = Call.Of(x, weight, bias, residual, activation, sequences, 1);
        Require.Float(state, "state");
        Require.Shape(state, "state", call.Sequences, call.Channels, call.Taps);
        if (Autograd.IsRecording(x, weight, state, bias, residual)) throw new AutogradException("a convolution step has no gradient: use the whole convolution, or turn recording off");
        var y = Tensor.EmptyLike(x);
        state.Storage.Version++;
        Step.Launch(x.Device, new(x, weight, bias, residual, state, y, (uint)call.Sequences, (uint)call.Channels, (uint)call.Taps, call.IsSilu, Types(x, weight, bias, state)),
            Grid.Over(RowLayout.Index(x.Count, x), RowLayout.Workgroup), null, RowLayout.Workgroup);
        return y;
    }

    private static (Tensor Y, Tensor? FinalState) Convolve(Call call, Tensor x, Tensor weight, Tensor? bias, Tensor? residual, Tensor? initialState,
        bool outputFinalState, Tensor? starts)
    {
        var y = Tensor.EmptyLike(x);
        RunForward(call, Mode.Tokens, x, weight, bias, residual, initialState, y, starts);
        Tensor? final = null;
        if (outputFinalState)
        {
            final = Tensor.Empty(x.Device, initialState?.DType ?? x.DType, call.Sequences, call.Channels, call.Taps);
            RunForward(call, Mode.State, x, weight, bias, residual, initialState, final, starts);
        }
        if (Autograd.IsRecording(x, weight, bias, residual, initialState))
        {
            Autograd.Record("short_convolution", [x, weight, bias, residual, initialState], final is null ? [y] : [y, final],
                [x, weight, bias, initialState, starts], Backward, call);
        }
        return (y, final);
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        var call = ctx.State<Call>();
        Tensor x = ctx.Saved(0)!, weight = ctx.Saved(1)!;
        Tensor? bias = ctx.Saved(2), state = ctx.Saved(3), starts = ctx.Saved(4), dfinal = dy.Length > 1 ? dy[1] : null;
        var given = dy[0]?.As(x.DType) ?? Tensor.ZerosLike(x);
        var run = call.BackwardRun(x.Device);
        var runs = (int)((call.Tokens + run - 1) / run);
        var hasSums = ctx.Needs(1) || ctx.Needs(2);
        using var weights = hasSums ? Tensor.Empty(x.Device, DType.Float32, runs, call.Channels, call.Taps) : null;
        using var biases = hasSums && bias is not null ? Tensor.Empty(x.Device, DType.Float32, runs, call.Channels) : null;

        Tensor? dx = Tensor.EmptyLike(x), dstate = null;
        RunBackward(call, Mode.Tokens, given, x, weight, bias, state, dfinal, dx, weights, biases, starts, run);
        if (ctx.Needs(4)) RunBackward(call, Mode.State, given, x, weight, bias, state, dfinal, dstate = Tensor.EmptyLike(state!), null, null, starts, run);
        Tensor? dweight = ctx.Needs(1) ? Total(weights!, weight) : null, dbias = ctx.Needs(2) ? Total(biases!, bias!) : null;
        return [ctx.Needs(0) ? dx : null, dweight, dbias, ctx.Needs(3) ? dy[0] : null, dstate];
    }

    /// <summary>The sum over runs, as a parameter has it.</summary>
    private static Tensor Total(Tensor parts, Tensor parameter) =>
        Reductions.Run(parts, 1, parts.Size(0), parameter.Count, Reduction.Sum, parameter.DType, parameter.Shape);

    private static void RunForward(Call call, Mode mode, Tensor x, Tensor weight, Tensor? bias, Tensor? residual, Tensor? state, Tensor y, Tensor? starts)
    {
        var run = call.ForwardRun(x.Device);
        Forward.Launch(x.Device, new(x, weight, bias, residual, state, y, starts, (uint)call.Tokens, (uint)call.Channels, (uint)call.Span, (uint)call.Sequences, (uint)run),
            call.GridOf(mode, run), null, call.Spec(x, mode, weight, bias, state, y, null, Has(ResidualFlag, residual) | Wide(call, x, weight, bias, residual, y) | call.Whole(run, starts)
                | (run > call.ForwardBatch(x.Device) ? LoopedFlag : 0), call.ForwardBatch(x.Device)));
    }

    private static void RunBackward(Call call, Mode mode, Tensor dy, Tensor x, Tensor weight, Tensor? bias, Tensor? state, Tensor? dfinal, Tensor y, Tensor? dweight, Tensor? dbias, Tensor? starts, int run) =>
        BackwardKernel.Launch(x.Device, new(dy, x, weight, bias, state, dfinal, y, dweight, dbias, starts, (uint)call.Tokens, (uint)call.Channels, (uint)call.Span, (uint)call.Sequences, (uint)run),
            call.GridOf(mode, run), null, call.Spec(x, mode, weight, bias, state, y, dfinal, Has(SumsFlag, dweight) | Wide(call, dy, x, weight, bias, y, dweight, dbias) | call.Whole(run, starts), Call.Batch(x.Device)));

    private static uint Has(uint flag, Tensor? tensor) => tensor is null ? 0 : flag;

    private static uint Wide(Call call, params ReadOnlySpan<Tensor?> tensors) => RowLayout.Wide(call.Channels, tensors) * WideFlag;

    private static uint Types(params ReadOnlySpan<Tensor?> tensors)
    {
        uint types = 0;
        for (var i = 0; i < tensors.Length; i++) types |= RowLayout.TypeCode(tensors[i]) << (4 * i);
        return types;
    }

    /// <summary>Sizes of a convolution.</summary>
    private sealed record Call(long Tokens, int Span, int Channels, int Taps, int Sequences, uint IsSilu)
    {
        private long Pieces => (Channels + 3) / 4;

        public static Call Of(Tensor x, Tensor weight, Tensor? bias, Tensor? residual, ConvolutionActivation activation, int sequences, int span)
        {
            Require.Float(x, "x");
            Require.Float(weight, "weight");
            Require.Float(bias, "bias");
            int channels = x.Size(-1), taps = weight.Rank == 0 ? 0 : weight.Size(-1);
            Require.That(weight.Count == (long)channels * taps && weight.Rank is 2 or 3 && weight.Size(0) == channels && taps is > 0 and <= MaxTaps,
                $"weight needs the shape [{channels}, 1, W] or [{channels}, W], W at most {MaxTaps}, it is {weight.Describe()}");
            Require.Shape(bias, "bias", channels);
            Require.Shape(residual, "residual", x.Shape);
            Require.Type(residual, x.DType, "residual");
            return new(RowLayout.Index(RowLayout.RowCount(x), x), span, channels, taps, sequences, activation == ConvolutionActivation.Silu ? 1u : 0u);
        }

        /// <summary>Tokens that an invocation reads ahead; backward, as many of two tensors. With more than one, LLVM 21 under lavapipe 26 gets some variants wrong (without its optimiser none).</summary>
        public static int Batch(ComputeDevice device) => device.IsCpu ? 1 : 8;

        /// <summary>The same of one tensor.</summary>
        public int ForwardBatch(ComputeDevice device) => device.IsCpu ? 2 : MostTokens;

        /// <summary>A flag when no run of so many tokens crosses the end of a sequence: nothing has to be looked up on the way.</summary>
        public uint Whole(int run, Tensor? starts) => starts is null && Span % run == 0 ? WholeFlag : 0;

        /// <summary>Tokens of an invocation: they share the taps; small inputs are spread out instead.</summary>
        public int ForwardRun(ComputeDevice device) => Tokens * Pieces >= (long)MostTokens * Filling(device) ? MostTokens : ForwardBatch(device);

        /// <summary>The same in backward, where they share sums too: a power of two, as the lengths of sequences often are multiples of one.</summary>
        public int BackwardRun(ComputeDevice device) =>
            (int)BitOperations.RoundUpToPowerOf2((ulong)Math.Clamp(Tokens * Pieces / Filling(device), Batch(device), MostTokensBackward));

        public Grid GridOf(Mode mode, int run) => Grid.Over((mode == Mode.State ? Sequences : (Tokens + run - 1) / run) * Pieces, RowLayout.Workgroup);

        public uint[] Spec(Tensor x, Mode mode, Tensor weight, Tensor? bias, Tensor? state, Tensor y, Tensor? final, uint flags, int batch)
        {
            var types = RowLayout.TypeCode(x) | RowLayout.TypeCode(weight) << WeightType | RowLayout.TypeCode(bias) << BiasType | RowLayout.TypeCode(state) << StateType
                | RowLayout.TypeCode(y) << OutputType | RowLayout.TypeCode(final) << FinalType;
            return [RowLayout.Workgroup, (uint)Taps, (uint)mode, types, flags | (IsSilu * SiluFlag) | Has(BiasFlag, bias) | Has(StateFlag, state) | Has(FinalFlag, final), (uint)batch];
        }

        private static int Filling(ComputeDevice device) => device.IsCpu ? CpuFillingInvocations : FillingInvocations;
    }
}
