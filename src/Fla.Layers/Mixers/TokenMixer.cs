using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Layers;

/// <summary>A layer that moves information between positions, with a memory of fixed size in place of attention's keys and values (or, in layers of hybrid models, with those).</summary>
public abstract class TokenMixer : Module
{
    /// <summary>A mixer.</summary>
    /// <param name="device">Where.</param>
    /// <param name="options">Settings.</param>
    /// <param name="dtype">Float type of parameters and activations.</param>
    /// <exception cref="ShapeException">Heads do not divide widths.</exception>
    /// <exception cref="ArgumentException">An unknown mode.</exception>
    protected TokenMixer(ComputeDevice device, MixerOptions options, DType dtype)
        : base(device, dtype)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Check();
        HiddenSize = options.HiddenSize;
        Mode = AttnModes.Parse(options.Mode);
    }

    /// <summary>Width of input and output, D.</summary>
    public int HiddenSize { get; }

    /// <summary>Form of the recurrence for inputs of more than 64 tokens.</summary>
    public AttnMode Mode { get; }

    /// <summary>Whether padding is dropped before the layer (else the layer multiplies it away).</summary>
    protected virtual bool DropsPadding => true;

    /// <summary>Whether boundaries of packed sequences are honoured; a layer that does not runs over the row as one sequence, as fla's does.</summary>
    public virtual bool UsesCuSeqlens => true;

    /// <summary>Mixes tokens.</summary>
    /// <param name="x">[B, T, D].</param>
    /// <param name="context">Packing, padding, cache.</param>
    /// <returns>[B, T, D].</returns>
    /// <exception cref="ShapeException">Another shape, or a packing, mask or cache that does not fit it.</exception>
    /// <exception cref="DTypeException">Another float type than the layer's.</exception>
    public Tensor Forward(Tensor x, MixerContext? context = null)
    {
        using var scope = Device.Scope();
        var input = Begin(x, context);
        return scope.Keep(End(input, Mix(input)));
    }

    /// <summary>x + mixer(norm(x)) for the few rows of a decoding step, in fewer kernels: products norm their input themselves, and the last one adds x.</summary>
    /// <param name="x">[B, T, D] that <see cref="DecodeProducts.Takes(Tensor)"/>.</param>
    /// <param name="norm">Before the mixer.</param>
    /// <param name="context">Packing and cache, without padding.</param>
    /// <returns>[B, T, D].</returns>
    /// <exception cref="ShapeException">Another shape, padding, or a packing or cache that does not fit it.</exception>
    /// <exception cref="DTypeException">Another float type than the layer's.</exception>
    public Tensor ForwardResidual(Tensor x, Norm norm, MixerContext? context = null)
    {
        using var scope = Device.Scope();
        var input = Begin(x, context) with { Norm = norm, IsResidual = true };
        if (input.Padding != null || input.Dropped != null) throw new ShapeException("a decoding step has no padding");
        var y = Mix(input);
        return scope.Keep(End(input, input.IsAdded ? y : Elementwise.Add(y, x)));
    }

    /// <summary>Checks a call, makes its choices, and drops padding if the layer wants that.</summary>
    protected MixerInput Begin(Tensor x, MixerContext? context)
    {
        ArgumentNullException.ThrowIfNull(x);
        context ??= MixerContext.Empty;
        Check(x, context);
        var length = x.Size(1);
        var window = context.Padding(length);
        return window != null && DropsPadding
            ? new(window.Unpad(x), length, Form(length, context), window.CuSeqlens, null, context) { Dropped = window }
            : new(x, length, Form(length, context), UsesCuSeqlens ? context.CuSeqlens : null, window, context);
    }

    /// <summary>Puts padding back and counts the tokens as seen.</summary>
    /// <returns>[B, T, D].</returns>
    protected static Tensor End(MixerInput input, Tensor y)
    {
        ArgumentNullException.ThrowIfNull(input);
        input.Cache?.Advance(input.Length);
        return input.Dropped?.Pad(y) ?? y;
    }

    /// <summary>The last axis split into heads: [B, T, H·width] to [B, T, H, width].</summary>
    protected static Tensor Heads(Tensor x, int width)
    {
        ArgumentNullException.ThrowIfNull(x);
        return x.View(x.Size(0), x.Size(1), -1, width);
    }

    /// <summary>The layer's own work on an input that fits it.</summary>
    /// <returns>Of the input's shape.</returns>
    protected abstract Tensor Mix(MixerInput input);

    private AttnMode Form(int length, MixerContext context)
    {
        var isShort = length <= AttnModes.RecurrentLength;
        return length == 1 ? AttnMode.FusedRecurrent : context.Mode ?? (isShort ? AttnMode.FusedRecurrent : Mode);
    }

    private void Check(Tensor x, MixerContext context)
    {
        if (x.Rank != 3 || x.Size(2) != HiddenSize) throw new ShapeException($"{GetType().Name} needs [B, T, {HiddenSize}], it was given {x.Describe()}");
        if (x.Size(0) == 0 || x.Size(1) == 0) throw new ShapeException($"{GetType().Name} was given no tokens: {x.Describe()}");
        if (x.DType != DType) throw new DTypeException($"{GetType().Name} holds {DType.ShortName()} parameters, it was given {x.Describe()}");
        if (context.CuSeqlens is { } cu && (x.Size(0) != 1 || cu.Length != x.Size(1)))
        {
            throw new ShapeException($"cuSeqlens ends at {cu.Length} and needs one row of as many tokens, not {x.Describe()}");
        }
        if (context.Mask is { } mask && (mask.Rows != x.Size(0) || mask.Columns < x.Size(1)))
        {
            throw new ShapeException($"a mask [{mask.Rows}, {mask.Columns}] does not fit {x.Describe()}");
        }
    }
}
