namespace Fla.Testing.References;

/// <content>What happens to parameters after the gradients are there.</content>
public static partial class Reference
{
    /// <summary>
    /// One step of AdamW with decoupled decay: p ← p(1 − lr·wd) − lr · m̂ / (√v̂ + eps), where <paramref name="step"/> counts from 1.
    /// Results "param", "m", "v".
    /// </summary>
    public static RefResult AdamW(
        RefTensor param, RefTensor grad, RefTensor m, RefTensor v, int step, double lr, double beta1 = 0.9, double beta2 = 0.999,
        double eps = 1e-8, double weightDecay = 0.01)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(step, 1);
        grad.Require(nameof(grad), param.Shape);
        m.Require(nameof(m), param.Shape);
        v.Require(nameof(v), param.Shape);
        var run = new Differentiation();
        run.Output("param", null, param.Shape);
        run.Output("m", null, param.Shape);
        run.Output("v", null, param.Shape);
        for (int i = 0; i < param.Length; i++)
        {
            double g = grad.Data[i];
            double first = (beta1 * m.Data[i]) + ((1 - beta1) * g);
            double second = (beta2 * v.Data[i]) + ((1 - beta2) * g * g);
            double corrected = first / (1 - Math.Pow(beta1, step));
            double root = Math.Sqrt(second / (1 - Math.Pow(beta2, step)));
            run.Set("param", i, (param.Data[i] * (1 - (lr * weightDecay))) - (lr * corrected / (root + eps)));
            run.Set("m", i, first);
            run.Set("v", i, second);
        }

        return run.Result();
    }

    /// <summary>
    /// Scales all gradients by min(1, maxNorm / (norm + 1e-6)), norm being that of all of them together. Results "norm" [1] and, by
    /// position in <paramref name="grads"/>, "0", "1", ….
    /// </summary>
    public static RefResult ClipGradNorm(IReadOnlyList<RefTensor> grads, double maxNorm)
    {
        double norm = Math.Sqrt(grads.Sum(x => x.Data.Sum(g => g * g)));
        double factor = Math.Min(1, maxNorm / (norm + 1e-6));
        Dictionary<string, RefTensor> outputs = new() { ["norm"] = new RefTensor([norm], 1) };
        for (int i = 0; i < grads.Count; i++)
        {
            outputs.Add($"{i}", grads[i].Map(g => g * factor));
        }

        return new RefResult(outputs, []);
    }
}
