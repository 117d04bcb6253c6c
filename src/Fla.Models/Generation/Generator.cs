using Fla.Layers;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models.Generation;

/// <summary>Continues texts: the prompts in one pass, then one token after another with states of fixed size.</summary>
/// <param name="model">The model; stays the caller's, and is used without recording gradients.</param>
public sealed class Generator(CausalLM model)
{
    /// <summary>Continues a batch of prompts of any lengths.</summary>
    /// <param name="prompts">Token ids, at least one for each prompt.</param>
    /// <param name="options">How tokens are chosen, and when to stop; greedy when null.</param>
    /// <param name="onToken">Called with the prompt's index and each new token as soon as it is chosen.</param>
    /// <param name="cancellation">Stops between tokens: what is there is returned.</param>
    /// <returns>The new tokens of each prompt, without prompt and stop token.</returns>
    /// <exception cref="GenerationException">No prompts, an empty one, options out of range, or a model that yields NaN.</exception>
    /// <exception cref="TokenIdException">A token is not in the vocabulary.</exception>
    public int[][] Generate(IReadOnlyList<IReadOnlyList<int>> prompts, GenerationOptions? options = null, Action<int, int>? onToken = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        options ??= new();
        options.Check();
        if (prompts.Count == 0) throw new GenerationException("no prompt was given");
        for (var row = 0; row < prompts.Count; row++)
        {
            if (prompts[row].Count == 0) throw new GenerationException($"prompt {row} is empty: begin with the model's bos token");
        }
        if (options.MaxNewTokens == 0) return [.. prompts.Select(_ => Array.Empty<int>())];

        using var noGrad = Autograd.NoGrad();
        using var scope = model.Device.Scope();
        using var cache = model.NewCache();
        var isArgMax = Sampler.IsArgMax(options);
        var choose = new Choice(options, prompts, options.StopTokens ?? (model.Config.EosTokenId is { } eos ? [eos] : []), isArgMax, onToken);
        choose.Take(Prefill(prompts, cache, isArgMax));
        using var decoder = new Decoder(model, cache, [.. prompts.Select(p => p.Count)], options.UseGraph, isArgMax);
        for (var i = 1; i < options.MaxNewTokens && !choose.IsDone && !cancellation.IsCancellationRequested; i++) choose.Take(decoder.Step(choose.Last));
        return choose.Texts;
    }

    /// <summary>Reads the prompts into the cache. Shorter ones are padded on the left, so that the last position is a token of every row.</summary>
    private Tensor Prefill(IReadOnlyList<IReadOnlyList<int>> prompts, ModelCache cache, bool isArgMax)
    {
        var lengths = prompts.Select(p => p.Count).ToArray();
        var longest = lengths.Max();
        var padding = model.Config.PadTokenId ?? 0;
        var ids = prompts.SelectMany(p => Enumerable.Repeat(padding, longest - p.Count).Concat(p)).ToArray();
        using var mask = lengths.All(length => length == longest) ? null : PaddingMask.Left(model.Device, lengths);
        var logits = model.Forward(model.Tokens(ids, prompts.Count), new() { Cache = cache, Mask = mask, LogitsToKeep = 1 }).Logits!;
        if (Reductions.CountNonFinite(logits).Item() > 0) throw new GenerationException("the model's logits are not finite: try f32 or bf16");
        return isArgMax ? Reductions.ArgMax(logits) : logits;
    }

    /// <summary>The texts under way.</summary>
    private sealed class Choice(GenerationOptions options, IReadOnlyList<IReadOnlyList<int>> prompts, IReadOnlyCollection<int> stops, bool isArgMax,
        Action<int, int>? onToken)
    {
        private readonly Sampler[] _samplers = [.. prompts.Select((prompt, row) => new Sampler(options, row, prompt))];
        private readonly List<int>[] _texts = [.. prompts.Select(_ => new List<int>())];
        private readonly bool[] _isStopped = new bool[prompts.Count];

        /// <summary>The last token of each row, to be fed back.</summary>
        public int[] Last { get; } = new int[prompts.Count];

        public bool IsDone => !_isStopped.Contains(false);

        public int[][] Texts => [.. _texts.Select(text => text.ToArray())];

        public void Take(Tensor result)
        {
            var tokens = isArgMax ? result.ToInt32() : null;
            var logits = isArgMax ? null : result.ToSingle();
            for (var row = 0; row < prompts.Count; row++)
            {
                if (_isStopped[row]) continue;
                var width = logits == null ? 0 : logits.Length / prompts.Count;
                var token = tokens != null ? tokens[row] : _samplers[row].Next(logits.AsSpan(row * width, width));
                Last[row] = token;
                _isStopped[row] = stops.Contains(token);
                if (_isStopped[row]) continue;
                _texts[row].Add(token);
                onToken?.Invoke(row, token);
            }
        }
    }
}
