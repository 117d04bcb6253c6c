using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.TorchSample;

/// <summary>A model on its way.</summary>
internal sealed class Run(Transformer model) : IDisposable
{
    private const int Batch = 8, Length = 96;

    private readonly optim.Optimizer optimizer = optim.AdamW(model.parameters(), lr: 3e-3, weight_decay: 0.01);
    private readonly List<double> times = [];

    /// <summary>Mean loss of the last steps.</summary>
    public double Loss { get; private set; }

    /// <summary>Median time of a step.</summary>
    public double Milliseconds => times.Order().ElementAt(times.Count / 2);

    /// <summary>One step on the batch of that number.</summary>
    public void Step(Letters text, int number)
    {
        using var scope = torch.NewDisposeScope();
        var watch = Stopwatch.StartNew();
        var (ids, labels) = text.Batch(number, Batch, Length);
        optimizer.zero_grad();
        var loss = nn.functional.cross_entropy(model.call(ids).flatten(0, 1), labels.flatten());
        loss.backward();
        nn.utils.clip_grad_norm_(model.parameters(), 1);
        optimizer.step();
        var value = loss.item<float>();
        Loss = Loss == 0 ? value : 0.9 * Loss + 0.1 * value;
        times.Add(watch.Elapsed.TotalMilliseconds);
    }

    public void Dispose() => optimizer.Dispose();
}

/// <summary>A text as numbers of its letters.</summary>
internal sealed class Letters
{
    private readonly long[] ids;

    public Letters(string resource)
    {
        using var reader = new StreamReader(typeof(Letters).Assembly.GetManifestResourceStream(resource)!);
        var text = reader.ReadToEnd();
        var letters = text.Distinct().Order().ToArray();
        VocabSize = letters.Length;
        ids = [.. text.Select(letter => (long)Array.BinarySearch(letters, letter))];
    }

    public int VocabSize { get; }

    public int Count => ids.Length;

    /// <summary>Windows at places drawn from the batch's number, and the letter that follows each of theirs.</summary>
    public (Tensor Ids, Tensor Labels) Batch(int number, int rows, int length)
    {
        var random = new Random(number);
        var starts = Enumerable.Range(0, rows).Select(_ => random.Next(ids.Length - length)).ToArray();
        return (Rows(0), Rows(1));

        Tensor Rows(int shift) => torch.tensor(starts.SelectMany(start => ids.Skip(start + shift).Take(length)).ToArray()).reshape(rows, length);
    }
}
