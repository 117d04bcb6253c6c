using System.Diagnostics;
using System.Globalization;
using Fla.Torch;
using TorchSharp;
using static TorchSharp.torch;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.TorchSample;

/// <summary>
/// What the operators cost beside the recurrences that they stand for, written token by token in eager TorchSharp, fp32, as the length grows. Both are called with
/// TorchSharp tensors, and compared before they are timed.
/// </summary>
internal static class RecurrenceCost
{
    private const int Heads = 4, Channels = 64;
    private const double Tolerance = 1e-3;
    private const int Repeats = 3;

    private static readonly int[] Lengths = [512, 1024, 2048, 4096, 8192];

    private sealed record Op(string Name, Func<int, Tensor[]> Inputs, Func<Tensor[], Tensor> Ours, Func<Tensor[], Tensor> Eager);

    /// <summary>Measures the named operators; all of them for no names.</summary>
    public static void Measure(string[] names)
    {
        Console.WriteLine($"B1 H{Heads} D{Channels}, fp32: TorchSharp on {torch.get_num_threads()} threads, ours on {TorchDevice.Default.Name}; median milliseconds of {Repeats} calls, TorchSharp's tensors in and out");
        Console.WriteLine("op                      T | forward: eager      ours  ratio  us/token | and backward: eager      ours  ratio  us/token");
        foreach (var op in Ops.Where(op => names.Length == 0 || names.Contains(op.Name)))
        {
            foreach (var length in Lengths)
            {
                using var scope = torch.NewDisposeScope();
                torch.manual_seed(1);
                var inputs = op.Inputs(length);
                var dy = torch.randn(1, length, Heads, Channels);
                Check(op, inputs, dy);
                var (eager, ours) = Medians(() => Forward(op.Eager, inputs), () => Forward(op.Ours, inputs));
                var (eagerBoth, oursBoth) = Medians(() => Both(op.Eager, inputs, dy), () => Both(op.Ours, inputs, dy));
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"{op.Name,-19}{length,6} |{eager,15:0.0}{ours,10:0.0}{eager / ours,6:0.0}x{1e3 * ours / length,10:0.00} |{eagerBoth,20:0.0}{oursBoth,10:0.0}{eagerBoth / oursBoth,6:0.0}x{1e3 * oursBoth / length,10:0.00}"));
            }
        }
        TorchDevice.Default.Dispose();
    }

    private static readonly Op[] Ops =
    [
        new("chunk_retention", Normal(3), x => fla.chunk_retention(x[0], x[1], x[2]).o, x =>
        {
            var decay = (1 - torch.pow(2, -5 - torch.arange(Heads, dtype: ScalarType.Float32))).view(1, Heads, 1, 1);
            return Additive(x[0], x[1], x[2], _ => decay);
        }),
        new("chunk_simple_gla", t => [.. Normal(3)(t), HeadDecay(t)], x => fla.chunk_simple_gla(x[0], x[1], x[2], x[3]).o, x =>
        {
            var decay = x[3].exp().view(1, -1, Heads, 1, 1).unbind(1);
            return Additive(x[0], x[1], x[2], t => decay[t]);
        }),
        new("chunk_gla", t => [.. Normal(3)(t), ChannelDecay(t)], x => fla.chunk_gla(x[0], x[1], x[2], x[3]).o, x =>
        {
            var decay = x[3].exp().unsqueeze(-1).unbind(1);
            return Additive(x[0], x[1], x[2], t => decay[t]);
        }),
        new("chunk_delta_rule", t => [.. Rule(t), Beta(t)], x => fla.chunk_delta_rule(x[0], x[1], x[2], x[3]).o, x => Delta(x[0], x[1], x[2], x[3], null)),
        new("chunk_gdn", t => [.. Rule(t), HeadDecay(t), Beta(t)], x => fla.chunk_gated_delta_rule(x[0], x[1], x[2], x[3], x[4]).o,
            x => Delta(x[0], x[1], x[2], x[4], x[3].view(1, -1, Heads, 1, 1))),
        new("chunk_kda", t => [.. Rule(t), ChannelDecay(t), Beta(t)], x => fla.chunk_kda(x[0], x[1], x[2], x[3], x[4]).o, x => Delta(x[0], x[1], x[2], x[4], x[3].unsqueeze(-1))),
    ];

    /// <summary>S ← decay S + k vᵀ, o = Sᵀ q / √K.</summary>
    private static Tensor Additive(Tensor q, Tensor k, Tensor v, Func<int, Tensor> decay)
    {
        var state = torch.zeros(1, Heads, Channels, Channels);
        Tensor[] keys = k.unsqueeze(-1).unbind(1), values = v.unsqueeze(-2).unbind(1);
        return Scan(q, t => state = state * decay(t) + keys[t] * values[t]);
    }

    /// <summary>S ← e^g S, then S ← S + β k (v − Sᵀk)ᵀ, o = Sᵀ q / √K.</summary>
    private static Tensor Delta(Tensor q, Tensor k, Tensor v, Tensor beta, Tensor? g)
    {
        var state = torch.zeros(1, Heads, Channels, Channels);
        Tensor[] keys = k.unsqueeze(-1).unbind(1), values = v.unbind(1), betas = beta.unsqueeze(-1).unbind(1);
        var decay = g?.exp().unbind(1);
        return Scan(q, t =>
        {
            if (decay is not null) state = state * decay[t];
            var error = values[t] - (state * keys[t]).sum(-2);
            return state = state + keys[t] * (betas[t] * error).unsqueeze(-2);
        });
    }

    /// <summary>Tokens are unbound at once: the gradient of a selection from all tokens is as long as all tokens, for every one of them.</summary>
    private static Tensor Scan(Tensor q, Func<int, Tensor> step)
    {
        var queries = (q * Math.Pow(Channels, -0.5)).unsqueeze(-1).unbind(1);
        return torch.stack(queries.Select((x, t) => (step(t) * x).sum(-2)).ToArray(), 1);
    }

    private static Func<int, Tensor[]> Normal(int count) => t => Enumerable.Range(0, count).Select(_ => Leaf(torch.randn(1, t, Heads, Channels))).ToArray();

    private static Tensor[] Rule(int t) => [Leaf(torch.randn(1, t, Heads, Channels)), Leaf(nn.functional.normalize(torch.randn(1, t, Heads, Channels), dim: -1)), Leaf(torch.randn(1, t, Heads, Channels))];

    private static Tensor HeadDecay(int t) => Leaf(nn.functional.logsigmoid(torch.randn(1, t, Heads)));

    private static Tensor ChannelDecay(int t) => Leaf(nn.functional.logsigmoid(torch.randn(1, t, Heads, Channels)).clamp_min(-5));

    private static Tensor Beta(int t) => Leaf(torch.randn(1, t, Heads).sigmoid());

    private static Tensor Leaf(Tensor x) => x.detach().requires_grad_(true);

    private static void Check(Op op, Tensor[] inputs, Tensor dy)
    {
        using var scope = torch.NewDisposeScope();
        Tensor[] Run(Func<Tensor[], Tensor> form)
        {
            foreach (var input in inputs) input.grad = null;
            var o = form(inputs);
            o.backward([dy]);
            return [o.detach(), .. inputs.Select(x => x.grad!.clone())];
        }
        foreach (var (ours, eager) in Run(op.Ours).Zip(Run(op.Eager)))
        {
            var error = ((ours - eager).norm() / eager.norm()).item<float>();
            if (!(error <= Tolerance)) throw new InvalidOperationException($"{op.Name} at T {dy.shape[1]}: relative error {error}");
        }
        foreach (var input in inputs) input.grad = null;
    }

    private static void Forward(Func<Tensor[], Tensor> form, Tensor[] inputs)
    {
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        _ = form(inputs);
    }

    private static void Both(Func<Tensor[], Tensor> form, Tensor[] inputs, Tensor dy)
    {
        using var scope = torch.NewDisposeScope();
        form(inputs).backward([dy]);
        foreach (var input in inputs) input.grad = null;
    }

    /// <summary>Of calls by turns: what else the machine does meets both.</summary>
    private static (double First, double Second) Medians(Action first, Action second)
    {
        double[] times = new double[Repeats], others = new double[Repeats];
        for (var i = 0; i < Repeats; i++)
        {
            times[i] = Milliseconds(first);
            others[i] = Milliseconds(second);
        }
        return (times.Order().ElementAt(Repeats / 2), others.Order().ElementAt(Repeats / 2));
    }

    private static double Milliseconds(Action call)
    {
        var start = Stopwatch.GetTimestamp();
        call();
        return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
    }
}
