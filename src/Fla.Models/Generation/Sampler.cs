namespace Fla.Models.Generation;

/// <summary>Chooses the next token of one text from its logits.</summary>
internal sealed class Sampler
{
    private readonly GenerationOptions _options;
    private readonly HashSet<int> _seen;
    private ulong _state;

    /// <summary>The draws depend on the seed and the row; penalties on the prompt and what was chosen since.</summary>
    public Sampler(GenerationOptions options, int row, IEnumerable<int> prompt)
    {
        _options = options;
        _seen = [.. prompt];
        _state = options.Seed;
        for (var i = 0; i <= row; i++) _state = NextBits();
    }

    /// <summary>Whether the likeliest token is taken, untouched: then the device can choose it.</summary>
    public static bool IsArgMax(GenerationOptions options) => !options.DoSample && options.RepetitionPenalty == 1;

    /// <summary>The next token.</summary>
    /// <param name="logits">One for each token of the vocabulary; overwritten.</param>
    /// <exception cref="GenerationException">The logits are not numbers.</exception>
    public int Next(Span<float> logits)
    {
        foreach (var logit in logits)
        {
            if (float.IsNaN(logit)) throw new GenerationException("the model's logits are not numbers (NaN): try f32 or bf16");
        }
        Penalise(logits);
        var token = _options.DoSample ? Draw(logits) : IndexOfMax(logits);
        _seen.Add(token);
        return token;
    }

    private static int IndexOfMax(ReadOnlySpan<float> logits)
    {
        var best = 0;
        for (var i = 1; i < logits.Length; i++)
        {
            if (logits[i] > logits[best]) best = i;
        }
        return best;
    }

    private void Penalise(Span<float> logits)
    {
        if (_options.RepetitionPenalty == 1) return;
        var penalty = (float)_options.RepetitionPenalty;
        foreach (var token in _seen) logits[token] = logits[token] > 0 ? logits[token] / penalty : logits[token] * penalty;
    }

    private int Draw(ReadOnlySpan<float> logits)
    {
        var order = new int[logits.Length];
        var keys = new float[logits.Length];
        for (var i = 0; i < order.Length; i++) (order[i], keys[i]) = (i, -logits[i]);
        Array.Sort(keys, order);
        var kept = Math.Min(_options.TopK ?? order.Length, order.Length);
        var weights = new double[kept];
        for (var i = 0; i < kept; i++) weights[i] = Math.Exp((keys[0] - keys[i]) / _options.Temperature);
        var total = weights.Sum();
        if (_options.TopP < 1)
        {
            var reached = 0.0;
            var count = 0;
            while (count < kept && reached < _options.TopP * total) reached += weights[count++];
            (kept, total) = (count, reached);
        }
        var point = (NextBits() >> 11) * (1.0 / (1UL << 53)) * total;
        for (var i = 0; i < kept - 1; i++)
        {
            point -= weights[i];
            if (point < 0) return order[i];
        }
        return order[kept - 1];
    }

    /// <summary>splitmix64.</summary>
    private ulong NextBits()
    {
        _state += 0x9E3779B97F4A7C15;
        var x = _state;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }
}
