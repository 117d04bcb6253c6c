namespace Fla.Models.Evaluation;

/// <summary>Losses of tokens by how much of their sequence came before: those predicted at positions From to To − 1, counted from 0.</summary>
/// <param name="From">The first position.</param>
/// <param name="To">One more than the last.</param>
/// <param name="Tokens">Tokens that were predicted.</param>
/// <param name="LossSum">Sum of their losses, in nats.</param>
public readonly record struct PerplexityBucket(int From, int To, long Tokens, double LossSum)
{
    /// <summary>Mean loss in nats per token; NaN without tokens.</summary>
    public double Loss => Tokens == 0 ? double.NaN : LossSum / Tokens;

    /// <summary>e to the mean loss.</summary>
    public double Perplexity => Math.Exp(Loss);
}

/// <summary>What an evaluation found.</summary>
/// <param name="Sequences">Sequences that were read.</param>
/// <param name="Buckets">By position.</param>
public sealed record PerplexityResult(long Sequences, IReadOnlyList<PerplexityBucket> Buckets)
{
    /// <summary>Tokens that were predicted: all but the first of each sequence.</summary>
    public long Tokens => Buckets.Sum(bucket => bucket.Tokens);

    /// <summary>Mean loss in nats per token; NaN without tokens.</summary>
    public double Loss => new PerplexityBucket(0, 0, Tokens, Buckets.Sum(bucket => bucket.LossSum)).Loss;

    /// <summary>e to the mean loss.</summary>
    public double Perplexity => Math.Exp(Loss);
}
