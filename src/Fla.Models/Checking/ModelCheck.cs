using Fla.Models.Generation;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models.Checking;

/// <summary>Runs a model against its reference case.</summary>
internal sealed class ModelCheck(CausalLM model, ReferenceCase reference, CheckOptions options, CheckRows rows)
{
    private const string InputIds = "input_ids";
    private const int GenerationPrompt = 11;

    private readonly Tolerances _tolerances = Tolerances.For(options.DType);

    private int[] _ids = [];
    private int _batch;
    private int _length;

    public void Run()
    {
        if (!reference.Has(InputIds)) throw new CheckException("expected.safetensors holds no input_ids");
        if (reference.Shape(InputIds) is not [> 0 and var batch, > 0 and var length]) throw new CheckException("input_ids is no matrix");
        (_ids, _batch, _length) = (reference.Integers(InputIds), batch, length);
        Forward();
        if (reference.Has("decode_logits")) Decode();
        if (reference.Has("varlen_logits")) Packed();
        if (reference.Has("generated")) Generated();
    }

    private void Forward()
    {
        var hasGradients = reference.Gradients.Any() || reference.GradientNorms.Count > 0;
        if (!hasGradients && !reference.Has("logits") && !reference.Has("loss") && !reference.HiddenStates.Any()) return;
        using var scope = model.Device.Scope();
        using var mode = hasGradients ? Autograd.EnableGrad() : Autograd.NoGrad();
        var ids = model.Tokens(_ids, _batch);
        using var output = model.Forward(ids, new() { Labels = ids, OutputHiddenStates = true, Mode = options.Mode });
        var logits = output.Logits;
        if (reference.Has("logits") && logits == null)
        {
            using var noGrad = Autograd.NoGrad();
            logits = model.Forward(ids, new() { Mode = options.Mode }).Logits;
        }
        if (reference.Has("logits")) rows.Compare("logits", logits!.ToSingle(), reference.Values("logits"), _tolerances.Forward);
        if (reference.Has("loss")) Loss(output.Loss!.Item());
        foreach (var i in reference.HiddenStates)
        {
            if (i >= output.HiddenStates.Count) throw new CheckException($"the file holds hidden.{i}, the model gives {output.HiddenStates.Count} states");
            rows.Compare($"hidden.{i}", output.HiddenStates[i].ToSingle(), reference.Values($"hidden.{i}"), _tolerances.Forward);
        }
        if (hasGradients) Gradients(output.Loss!);
    }

    private void Loss(float actual)
    {
        if (reference.Values("loss") is not [var expected]) throw new CheckException("loss is not one number");
        rows.Add("loss", Math.Abs((double)actual - expected), _tolerances.Loss * (options.DType == DType.Float32 ? 1 : Math.Max(1, Math.Abs(expected))));
    }

    private void Gradients(Tensor loss)
    {
        loss.Backward();
        var parameters = model.StateDict().GroupBy(entry => entry.Key).ToDictionary(group => group.Key, group => group.First().Value, StringComparer.Ordinal);
        foreach (var name in reference.Gradients)
        {
            var gradient = GradientOf(name, parameters);
            rows.Compare($"grad.{name}", gradient, reference.Gradient(name), reference.IsExact(name) ? _tolerances.ExactGradient : _tolerances.Gradient);
        }
        foreach (var (name, expected) in reference.GradientNorms)
        {
            var norm = Math.Sqrt(GradientOf(name, parameters).Sum(value => (double)value * value));
            rows.Add($"grad_norm.{name}", expected == 0 ? norm : Math.Abs(norm - expected) / expected, _tolerances.Gradient);
        }
        model.ClearGradients();
    }

    private static float[] GradientOf(string name, Dictionary<string, Tensor> parameters)
    {
        if (!parameters.TryGetValue(name, out var parameter)) throw new CheckException($"the file holds a gradient of {name}, which the model has not");
        return parameter.Grad?.ToSingle() ?? new float[parameter.Count];
    }

    /// <summary>A prompt with a cache, then one token after another.</summary>
    private void Decode()
    {
        if (reference.Shape("decode_logits") is not [var batch, > 1 and var count, var vocabulary] || batch != _batch || vocabulary != model.Config.VocabSize)
        {
            throw new CheckException("decode_logits does not fit input_ids and the vocabulary");
        }
        var expected = reference.Values("decode_logits");
        var prefill = reference.PrefillLength ?? PrefillBy(expected, count, vocabulary);
        if (prefill < 1 || prefill + count - 1 > _length) throw new CheckException($"{prefill} tokens and {count - 1} steps are more than the {_length} of input_ids");
        using var scope = model.Device.Scope();
        using var noGrad = Autograd.NoGrad();
        using var cache = model.NewCache();
        var actual = new float[expected.Length];
        Take(model.Forward(Columns(0, prefill), new() { Cache = cache, LogitsToKeep = 1, Mode = options.Mode }), 0);
        for (var i = 1; i < count; i++) Take(model.Forward(Columns(prefill + i - 1, 1), new() { Cache = cache, Mode = options.Mode }), i);
        rows.Compare("decode_logits", actual, expected, _tolerances.Forward);

        void Take(ModelOutput output, int position)
        {
            var logits = output.Logits!.ToSingle();
            for (var row = 0; row < batch; row++) logits.AsSpan(row * vocabulary, vocabulary).CopyTo(actual.AsSpan(((row * count) + position) * vocabulary));
            output.Dispose();
        }
    }

    /// <summary>Where decoding began, found by what it shares with the logits of the parallel form.</summary>
    private int PrefillBy(float[] decoded, int count, int vocabulary)
    {
        if (!reference.Has("logits")) throw new CheckException("notes.json does not tell how many tokens came before decode_logits");
        var logits = reference.Values("logits");
        return Enumerable.Range(1, _length - count + 1).MinBy(Distance);

        float Distance(int prefill) => Enumerable.Range(0, vocabulary).Sum(i => Math.Abs(decoded[i] - logits[((prefill - 1) * vocabulary) + i]));
    }

    private Tensor Columns(int start, int length) =>
        model.Tokens([.. Enumerable.Range(0, _batch * length).Select(i => _ids[(i / length * _length) + start + (i % length)])], _batch);

    private void Packed()
    {
        if (!reference.Has("cu_seqlens")) throw new CheckException("varlen_logits come without cu_seqlens");
        using var scope = model.Device.Scope();
        using var noGrad = Autograd.NoGrad();
        using var cuSeqlens = new CuSeqlens(model.Device, reference.Integers("cu_seqlens"));
        var ids = model.Tokens(_ids.AsSpan(0, _length));
        using var output = model.Forward(ids, new() { CuSeqlens = cuSeqlens, Mode = options.Mode });
        rows.Compare("varlen_logits", output.Logits!.ToSingle(), reference.Values("varlen_logits"), _tolerances.Forward);
    }

    private void Generated()
    {
        var expected = reference.Integers("generated");
        var usual = Math.Min(GenerationPrompt, _length);
        var actual = Continue(usual, expected.Length);
        var first = FirstDifference(actual, expected);
        if (first < 0 || OtherPrompts(expected[0]).Any(length => FirstDifference(Continue(length, expected.Length), expected) < 0))
        {
            rows.Add("generated", 0, _tolerances.Forward);
            return;
        }
        var error = options.DType == DType.Float32 ? 1 : Preference([.. _ids[..usual], .. expected[..first]], expected[first]);
        rows.Add("generated", error, _tolerances.Forward, $"token {first} is {actual[first]} instead of {expected[first]}");

        static int FirstDifference(int[] actual, int[] expected) => Enumerable.Range(0, expected.Length).FirstOrDefault(i => actual[i] != expected[i], -1);
    }

    private int[] Continue(int prompt, int count) => new Generator(model).Generate([_ids[..prompt]], new() { MaxNewTokens = count, StopTokens = [] })[0];

    /// <summary>Prompts of another length than the usual one, after which the reference's own logits favour the first generated token.</summary>
    private IEnumerable<int> OtherPrompts(int token)
    {
        if (!reference.Has("logits")) return [];
        var logits = reference.Values("logits");
        var vocabulary = model.Config.VocabSize;
        return Enumerable.Range(1, _length).Where(length =>
        {
            var row = logits.AsSpan((length - 1) * vocabulary, vocabulary);
            return length != GenerationPrompt && token < vocabulary && row.IndexOfAnyExceptInRange(float.NegativeInfinity, row[token]) < 0;
        });
    }

    /// <summary>How much the model prefers another token, as a part of the logits' norm.</summary>
    private double Preference(int[] text, int token)
    {
        using var scope = model.Device.Scope();
        using var noGrad = Autograd.NoGrad();
        using var output = model.Forward(model.Tokens(text), new() { LogitsToKeep = 1 });
        var logits = output.Logits!.ToSingle();
        return (logits.Max() - logits[token]) / Math.Sqrt(logits.Sum(value => (double)value * value));
    }
}
