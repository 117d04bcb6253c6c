namespace Fla.Vulkan.Ops;

/// <summary>What follows a short convolution.</summary>
public enum ConvActivation
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>silu, also called swish.</summary>
    Silu,
}

/// <summary>Short depthwise causal convolutions (shaders/conv), in fp32, stored in the type of x.</summary>
public static class Convolutions
{
    private const int MaxTaps = 16;
    private const int TokensPerBlock = 64;

    private static readonly Kernel<ForwardArgs> Forward = new("conv/short_conv");
    private static readonly Kernel<BackwardArgs> BackwardKernel = new("conv/short_conv_backward");
    private static readonly Kernel<StepArgs> StepKernel = new("conv/short_conv_step");

    private readonly record struct ForwardArgs(In X, In Weight, In Bias, In Residual, In State, Out Y, In Starts, uint Tokens, uint Channels, uint Length, uint Sequences, uint Mode,
        uint IsSilu, uint Types);

    private readonly record struct BackwardArgs(In DPre, In X, In Weight, In State, In DFinal, Out DX, Out DBias, In Starts, uint Tokens, uint Channels, uint Length, uint Sequences,
        uint Mode, uint BlockTokens, uint Types);

    private readonly record struct StepArgs(In X, In Weight, In Bias, In Residual, InOut State, Out Y, uint Sequences, uint Channels, uint IsSilu, uint Types);

    private enum Mode : uint
    {
        Output,
        State,
        Slope,
    }

    private sealed record Saved(ConvActivation Activation, CuSeqlens? CuSeqlens, int[] WeightShape, DType WeightType, DType? BiasType);

    /// <summary>
    /// y_t = act(Σ_w weight[w]·x_{t−W+1+w} + bias) + residual_t within each sequence; inputs before it come from the initial state, else are 0.
    /// </summary>
    /// <param name="x">[B, T, C].</param>
    /// <param name="weight">[C, W] or [C, 1, W]; the last tap meets the current token. W is at most 16.</param>
    /// <param name="bias">[C] or null.</param>
    /// <param name="residual">Of x's shape and type, or null.</param>
    /// <param name="mask">[B, T] of a float type, multiplied with x first; excludes <paramref name="cuSeqlens"/>. Or null.</param>
    /// <param name="activation">What follows.</param>
    /// <param name="initialState">The W inputs before each sequence, oldest first: [N, C, W] of any float type, or null.</param>
    /// <param name="outputFinalState">Return the last W inputs of each sequence.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences; B must then be 1.</param>
    /// <returns>y of x's shape and type; the final state [N, C, W] in the initial state's type, else x's, or null.</returns>
    /// <exception cref="ShapeException">Shapes do not fit, or both a mask and boundaries are given.</exception>
    /// <exception cref="DTypeException">An operand holds integers, or the residual has another type than x.</exception>
    public static (Tensor Y, Tensor? FinalState) ShortConvolution(Tensor x, Tensor weight, Tensor? bias = null, Tensor? residual = null, Tensor? mask = null,
        ConvActivation activation = ConvActivation.Silu, Tensor? initialState = null, bool outputFinalState = false, CuSeqlens? cuSeqlens = null)
    {
        Require.Rank(x, 3, nameof(x));
        using var masked = mask is null ? null : Masked(x, mask, cuSeqlens);
        x = masked ?? x;
        TokenSequences.Check(x, cuSeqlens);
        var taps = Check(x, weight, bias, residual, x.Size(2));
        var sequences = cuSeqlens?.Count ?? x.Size(0);
        Require.SameDevice(x, initialState);
        Require.Shape(initialState, nameof(initialState), sequences, x.Size(2), taps);
        Require.Float(initialState, nameof(initialState));
        var y = Tensor.EmptyLike(x);
        Launch(x, weight, bias, residual, initialState, y, taps, sequences, Mode.Output, activation, cuSeqlens);
        Tensor? final = null;
        if (outputFinalState)
        {
            final = Tensor.Empty(x.Device, initialState?.DType ?? x.DType, sequences, x.Size(2), taps);
            Launch(x, weight, null, null, initialState, final, taps, sequences, Mode.State, activation, cuSeqlens);
        }
        if (Autograd.IsRecording(x, weight, bias, residual, initialState))
        {
            Autograd.Record("short_conv", [x, weight, bias, residual, initialState], final is null ? [y] : [y, final], [x, weight, bias, initialState], Backward,
                new Saved(activation, cuSeqlens, weight.Shape.ToArray(), weight.DType, bias?.DType));
        }
        return (y, final);
    }

    /// <summary>One token of <see cref="ShortConvolution"/> for each of N sequences; the state takes it in, in place. Not differentiable.</summary>
    /// <param name="x">N·C elements under any shape whose last axis is C, such as [N, 1, C] or [1, N, C].</param>
    /// <param name="state">[N, C, W] of any float type.</param>
    /// <param name="weight">[C, W] or [C, 1, W].</param>
    /// <param name="bias">[C] or null.</param>
    /// <param name="residual">Of x's shape and type, or null.</param>
    /// <param name="activation">What follows.</param>
    /// <returns>Of x's shape and type.</returns>
    /// <exception cref="ShapeException">Shapes do not fit.</exception>
    public static Tensor ShortConvolutionStep(Tensor x, Tensor state, Tensor weight, Tensor? bias = null, Tensor? residual = null, ConvActivation activation = ConvActivation.Silu)
    {
        Require.That(x.Rank > 0, "x needs a channel axis");
        var channels = x.Size(-1);
        var taps = Check(x, weight, bias, residual, channels);
        var sequences = RowLayout.RowCount(x);
        Require.SameDevice(x, state);
        Require.Shape(state, nameof(state), (int)sequences, channels, taps);
        Require.Float(state, nameof(state));
        var y = Tensor.EmptyLike(x);
        StepKernel.Launch(x.Device, new(x, weight, bias, residual, state, y, (uint)sequences, (uint)channels, activation == ConvActivation.Silu ? 1u : 0u,
            RowLayout.TypeCode(weight) | (RowLayout.TypeCode(bias) << 4) | (RowLayout.TypeCode(state) << 8)), Grid.Over(x.Count, RowLayout.Workgroup), x.DType.Variant(),
            RowLayout.Workgroup, (uint)taps);
        state.Storage.Version++;
        return y;
    }

    /// <summary>The last input of each sequence: the final state of a convolution with one tap, [N, C].</summary>
    internal static Tensor LastInputs(Tensor x, Tensor? before, CuSeqlens? cuSeqlens)
    {
        var sequences = cuSeqlens?.Count ?? x.Size(0);
        var last = Tensor.Empty(x.Device, before?.DType ?? x.DType, sequences, x.Size(2));
        Launch(x, null, null, null, before, last, 1, sequences, Mode.State, ConvActivation.None, cuSeqlens);
        return last;
    }

    private static Tensor Masked(Tensor x, Tensor mask, CuSeqlens? cuSeqlens)
    {
        Require.That(cuSeqlens is null, "a mask and cuSeqlens exclude each other");
        Require.Shape(mask, nameof(mask), x.Size(0), x.Size(1));
        using var column = mask.View(x.Size(0), x.Size(1), 1);
        return Elementwise.Mul(x, column);
    }

    private static int Check(Tensor x, Tensor weight, Tensor? bias, Tensor? residual, int channels)
    {
        Require.SameDevice(x, weight, bias, residual);
        foreach (var (tensor, name) in new[] { (x, "x"), (weight, "weight"), (bias, "bias"), (residual, "residual") }) Require.Float(tensor, name);
        Require.That(weight.Rank is 2 or 3 && weight.Size(0) == channels && (weight.Rank == 2 || weight.Size(1) == 1) && weight.Size(-1) is > 0 and <= MaxTaps,
            $"the weight of {channels} channels is [{channels}, W] or [{channels}, 1, W] with W from 1 to {MaxTaps}, not {weight.Describe()}");
        Require.Shape(bias, nameof(bias), channels);
        Require.Shape(residual, nameof(residual), x.Shape);
        Require.Type(residual, x.DType, nameof(residual));
        return weight.Size(-1);
    }

    private static void Launch(Tensor x, Tensor? weight, Tensor? bias, Tensor? residual, Tensor? state, Tensor y, int taps, int sequences, Mode mode, ConvActivation activation,
        CuSeqlens? cuSeqlens)
    {
        int channels = x.Size(-1), length = x.Size(1);
        var tokens = (long)x.Size(0) * length;
        Forward.Launch(x.Device, new(x, weight, bias, residual, state, y, cuSeqlens?.Starts, RowLayout.Index(tokens, x), (uint)channels, (uint)length, (uint)sequences, (uint)mode,
            activation == ConvActivation.Silu ? 1u : 0u,
            RowLayout.TypeCode(weight) | (RowLayout.TypeCode(bias) << 4) | (RowLayout.TypeCode(state) << 8) | (RowLayout.TypeCode(y) << 12)),
            Grid.Over((mode == Mode.State ? sequences : tokens) * channels, RowLayout.Workgroup), x.DType.Variant(), RowLayout.Workgroup, (uint)taps);
    }

    private static Tensor?[] Backward(BackwardContext ctx, Tensor?[] dy)
    {
        Tensor x = ctx.Saved(0)!, weight = ctx.Saved(1)!;
        Tensor? bias = ctx.Saved(2), initial = ctx.Saved(3);
        var saved = ctx.State<Saved>();
        var device = x.Device;
        int channels = x.Size(2), taps = weight.Size(-1), length = x.Size(1), sequences = saved.CuSeqlens?.Count ?? x.Size(0);
        var tokens = x.Size(0) * length;
        var dfinal = dy.Length > 1 ? dy[1] : null;
        using var dpre = Tensor.Empty(device, DType.Float32, x.Shape);
        if (dy[0] is { } given) Launch(x, weight, bias, given.As(x.DType), initial, dpre, taps, sequences, Mode.Slope, saved.Activation, saved.CuSeqlens);
        else dpre.Zero();

        var dx = ctx.Needs(0) ? Tensor.EmptyLike(x) : null;
        if (dx != null) Run(0, dx, null, (long)tokens * channels);
        var dinitial = ctx.Needs(4) ? Tensor.EmptyLike(initial!) : null;
        if (dinitial != null) Run(1, dinitial, null, (long)sequences * channels);
        Tensor? dweight = null, dbias = null;
        if (ctx.Needs(1) || ctx.Needs(2))
        {
            var blockTokens = Math.Max(TokensPerBlock, (tokens + RowLayout.Fill(device) - 1) / RowLayout.Fill(device));
            var blocks = Math.Max(1, (tokens + blockTokens - 1) / blockTokens);
            using var weights = Tensor.Empty(device, DType.Float32, blocks, channels * taps);
            using var biases = ctx.Needs(2) ? Tensor.Empty(device, DType.Float32, blocks, channels) : null;
            if (tokens == 0)
            {
                weights.Zero();
                biases?.Zero();
            }
            Run(2, weights, biases, (long)blocks * channels, blockTokens);
            dweight = Reductions.Run(weights, 1, blocks, channels * taps, Reduction.Sum, saved.WeightType, saved.WeightShape);
            if (biases != null) dbias = Reductions.Run(biases, 1, blocks, channels, Reduction.Sum, saved.BiasType!.Value, [channels]);
        }
        return [dx, dweight, dbias, ctx.Needs(3) ? dy[0] : null, dinitial];

        void Run(uint mode, Tensor target, Tensor? biasTarget, long items, int blockTokens = 0) =>
            BackwardKernel.Launch(device, new(dpre, x, weight, initial, dfinal, target, biasTarget, saved.CuSeqlens?.Starts, (uint)tokens, (uint)channels, (uint)length, (uint)sequences, mode,
                (uint)blockTokens, RowLayout.TypeCode(weight) | (RowLayout.TypeCode(initial) << 4) | (RowLayout.TypeCode(dfinal) << 8) | (RowLayout.TypeCode(target) << 12)),
                Grid.Over(items, RowLayout.Workgroup), x.DType.Variant(), RowLayout.Workgroup, (uint)taps);
    }
}
