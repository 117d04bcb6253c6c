using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models.Evaluation;

/// <summary>
/// Perplexity of text by how much of it came before, as fla's evals/ppl.py. Where that counts the last position of a block against an end token that is not
/// in the text, here every position but the last is asked for the token that follows, so that the total is the loss of training.
/// </summary>
/// <param name="model">The model; used without recording gradients, and left in the mode that it is in.</param>
/// <param name="options">Sizes.</param>
public sealed class PerplexityEvaluator(CausalLM model, PerplexityOptions options)
{
    /// <summary>Cuts tokens into blocks, as fla does: all documents one after the other, the rest after the last whole block dropped; less than a block is one.</summary>
    /// <param name="documents">Token ids.</param>
    /// <param name="blockSize">Tokens in a block.</param>
    public static IEnumerable<ReadOnlyMemory<int>> Blocks(IEnumerable<ReadOnlyMemory<int>> documents, int blockSize)
    {
        ArgumentNullException.ThrowIfNull(documents);
        var (block, filled, isFirst) = (new int[blockSize], 0, true);
        foreach (var document in documents)
        {
            for (var rest = document; rest.Length > 0;)
            {
                var taken = Math.Min(rest.Length, blockSize - filled);
                rest[..taken].CopyTo(block.AsMemory(filled));
                (rest, filled) = (rest[taken..], filled + taken);
                if (filled < blockSize) continue;
                yield return block;
                (block, filled, isFirst) = (new int[blockSize], 0, false);
            }
        }
        if (isFirst && filled > 1) yield return block.AsMemory(0, filled);
    }

    /// <summary>Cuts every document by itself into sequences of at most so many tokens; single tokens that are left predict nothing and are dropped.</summary>
    /// <param name="documents">Token ids.</param>
    /// <param name="blockSize">Tokens in the longest sequence.</param>
    public static IEnumerable<ReadOnlyMemory<int>> Sequences(IEnumerable<ReadOnlyMemory<int>> documents, int blockSize)
    {
        ArgumentNullException.ThrowIfNull(documents);
        foreach (var document in documents)
        {
            for (var at = 0; at + 1 < document.Length; at += blockSize) yield return document[at..Math.Min(at + blockSize, document.Length)];
        }
    }

    /// <summary>Reads sequences, each from an empty memory.</summary>
    /// <param name="sequences">Of 2 tokens to a block.</param>
    /// <param name="progress">Told what was found so far.</param>
    /// <param name="cancellation">Stops between batches.</param>
    /// <exception cref="ShapeException">A sequence is longer than a block, or has fewer than two tokens.</exception>
    /// <exception cref="TokenIdException">A token is not in the vocabulary.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public PerplexityResult Evaluate(IEnumerable<ReadOnlyMemory<int>> sequences, Action<PerplexityResult>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        options.Check();
        using var noGrad = Autograd.NoGrad();
        var wasTraining = model.IsTraining;
        model.Eval();
        try
        {
            var sums = new Sums(options);
            foreach (var batch in Batches(sequences))
            {
                cancellation.ThrowIfCancellationRequested();
                Run(batch, sums);
                progress?.Invoke(sums.Result);
            }
            return sums.Result;
        }
        finally
        {
            if (wasTraining) model.Train();
        }
    }

    /// <summary>As many sequences as have room in a batch's tokens; of one length where the model cannot tell packed sequences apart.</summary>
    private IEnumerable<List<ReadOnlyMemory<int>>> Batches(IEnumerable<ReadOnlyMemory<int>> sequences)
    {
        var (batch, tokens) = (new List<ReadOnlyMemory<int>>(), 0);
        foreach (var sequence in sequences)
        {
            if (sequence.Length < 2 || sequence.Length > options.BlockSize) throw new ShapeException($"sequences have 2 to {options.BlockSize} tokens, not {sequence.Length}");
            var isFull = tokens + sequence.Length > options.BatchSize * options.BlockSize || (!model.UsesCuSeqlens && batch.Count > 0 && batch[0].Length != sequence.Length);
            if (isFull)
            {
                yield return batch;
                (batch, tokens) = ([], 0);
            }
            batch.Add(sequence);
            tokens += sequence.Length;
        }
        if (batch.Count > 0) yield return batch;
    }

    private void Run(List<ReadOnlyMemory<int>> batch, Sums sums)
    {
        using var scope = model.Device.Scope();
        var rows = model.UsesCuSeqlens ? 1 : batch.Count;
        var tokens = new List<int>();
        var boundaries = new int[batch.Count + 1];
        for (var i = 0; i < batch.Count; i++)
        {
            tokens.AddRange(batch[i].Span);
            boundaries[i + 1] = tokens.Count;
        }
        var ids = model.Tokens(tokens.ToArray(), rows);
        using var packing = rows == 1 && batch.Count > 1 ? new CuSeqlens(model.Device, boundaries) : null;
        // Whatever label the shift leaves to the last logits of each sequence, they are not looked at.
        var losses = model.Forward(ids, new() { Labels = ids, CuSeqlens = packing, Loss = new() { IsPerToken = true, IsFused = options.IsFused } }).Loss!.ToSingle();
        for (var i = 0; i < batch.Count; i++) sums.Add(losses.AsSpan(boundaries[i], batch[i].Length - 1));
    }

    private sealed class Sums(PerplexityOptions options)
    {
        private readonly double[] _losses = new double[(options.BlockSize - 2) / options.BucketSize + 1];
        private readonly long[] _tokens = new long[(options.BlockSize - 2) / options.BucketSize + 1];
        private long _sequences;

        public PerplexityResult Result => new(_sequences, [.. _losses.Select((loss, i) =>
            new PerplexityBucket(i * options.BucketSize, Math.Min((i + 1) * options.BucketSize, options.BlockSize), _tokens[i], loss))]);

        public void Add(ReadOnlySpan<float> losses)
        {
            _sequences++;
            for (var i = 0; i < losses.Length; i++)
            {
                _losses[i / options.BucketSize] += losses[i];
                _tokens[i / options.BucketSize]++;
            }
        }
    }
}
