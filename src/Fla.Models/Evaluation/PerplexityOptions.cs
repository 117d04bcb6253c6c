namespace Fla.Models.Evaluation;

/// <summary>How perplexity is measured.</summary>
public sealed record PerplexityOptions
{
    /// <summary>Tokens in a block: the longest sequence.</summary>
    public int BlockSize { get; init; } = 2048;

    /// <summary>Tokens in a bucket: losses are also told apart by how many tokens came before.</summary>
    public int BucketSize { get; init; } = 2048;

    /// <summary>Blocks in a forward pass.</summary>
    public int BatchSize { get; init; } = 1;

    /// <summary>Whether the logits of all tokens never exist at once; null as the model's configuration says.</summary>
    public bool? IsFused { get; init; } = true;

    /// <summary>Checks ranges.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A number is too small.</exception>
    internal void Check()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(BlockSize, 2, nameof(BlockSize));
        ArgumentOutOfRangeException.ThrowIfLessThan(BucketSize, 1, nameof(BucketSize));
        ArgumentOutOfRangeException.ThrowIfLessThan(BatchSize, 1, nameof(BatchSize));
    }
}
