using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models.Training;

/// <summary>Device memory that one forward and backward pass reads, in place for every replay of the step.</summary>
internal sealed class TrainingPass : IDisposable
{
    private readonly Tensor? _packedLabels;

    public TrainingPass(ComputeDevice device, TrainerOptions options)
    {
        var isPacked = options.MaxSequences > 0;
        var (rows, length) = isPacked ? (1, options.BatchSize * options.SequenceLength) : (options.BatchSize, options.SequenceLength);
        Tokens = Tensor.Zeros(device, DType.Int32, rows, length).Own();
        Share = Tensor.Zeros(device, DType.Float32, 1).Own();
        if (!isPacked) return;
        _packedLabels = Tensor.Zeros(device, DType.Int32, rows, length).Own();
        var boundaries = new int[options.MaxSequences + 1];
        boundaries.AsSpan(1).Fill(length);
        CuSeqlens = new(device, boundaries);
    }

    /// <summary>i32 [B, T], or [1, B · T] when packed.</summary>
    public Tensor Tokens { get; }

    /// <summary>The tokens themselves, or when packed those without each sequence's first.</summary>
    public Tensor Labels => _packedLabels ?? Tokens;

    /// <summary>Boundaries when packed.</summary>
    public CuSeqlens? CuSeqlens { get; }

    /// <summary>f32 [1]: weight of this pass's mean loss in the step's.</summary>
    public Tensor Share { get; }

    /// <summary>Next windows.</summary>
    public void Write(ReadOnlySpan<int> tokens, float share)
    {
        Tokens.Write(tokens);
        Share.Write([share]);
    }

    /// <summary>Next packed sequences.</summary>
    public void Write(PackedBatch batch, ReadOnlySpan<int> labels, float share)
    {
        Write(batch.Tokens, share);
        _packedLabels!.Write(labels);
        CuSeqlens!.Set(batch.Boundaries);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Tokens.Dispose();
        _packedLabels?.Dispose();
        CuSeqlens?.Dispose();
        Share.Dispose();
    }
}
