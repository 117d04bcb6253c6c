namespace Fla.Testing.References;

/// <content>Losses.</content>
public static partial class Reference
{
    /// <summary>
    /// Cross entropy of logits [R,V] against labels [R]: lse − (1−ε) x_y − ε·mean(x) + z a row. Results "loss" ([1], or [R] for
    /// reduction "none") and, with an lse square, "z_loss" (that part, without gradient); gradient of "logits". The mean over no row is
    /// NaN.
    /// </summary>
    public static RefResult CrossEntropy(RefTensor logits, int[] labels, CrossEntropyOptions? options = null, RefTensor? dloss = null)
    {
        var run = new Differentiation(dloss);
        VarTensor input = run.Input("logits", logits);
        RequireLabels(labels, logits.Shape[0]);
        return CrossEntropyRows(run, labels, options ?? new(), dloss, double.NaN, r => input.Row(r).ToArray());
    }

    /// <summary>
    /// Cross entropy of the logits x Wᵀ (+ bias): x [R,D], weight [V,D]. As <see cref="CrossEntropy"/>, but 0 when every row is
    /// ignored; gradients of "x", "weight", "bias".
    /// </summary>
    public static RefResult FusedLinearCrossEntropy(
        RefTensor x, int[] labels, RefTensor weight, RefTensor? bias = null, CrossEntropyOptions? options = null, RefTensor? dloss = null)
    {
        var run = new Differentiation(dloss);
        VarTensor input = run.Input("x", x), w = run.Input("weight", weight);
        VarTensor? b = run.OptionalInput("bias", bias);
        RequireLabels(labels, x.Shape[0]);
        return CrossEntropyRows(run, labels, options ?? new(), dloss, 0, r => LinearRow(input.Row(r), w, b));
    }

    /// <summary>
    /// Σ p_t (ln p_t − ln p_s) / R with p_s = softmax(x weightᵀ), p_t = softmax(targetX targetWeightᵀ); x, targetX [R,D]. Result
    /// "loss" [1]; gradients of "x" and "weight".
    /// </summary>
    public static RefResult FusedKlDiv(
        RefTensor x, RefTensor targetX, RefTensor weight, RefTensor targetWeight, RefTensor? dloss = null)
    {
        int rows = x.Shape[0];
        var run = new Differentiation(dloss);
        VarTensor input = run.Input("x", x), w = run.Input("weight", weight);
        VarTensor target = Differentiation.Constant(targetX), targetW = Differentiation.Constant(targetWeight);
        run.Output("loss", dloss, 1);
        for (int r = 0; r < rows; r++)
        {
            Var[] student = LinearRow(input.Row(r), w, null), teacher = LinearRow(target.Row(r), targetW, null);
            Var studentLse = Var.LogSumExp(student), teacherLse = Var.LogSumExp(teacher);
            Var sum = 0;
            for (int i = 0; i < student.Length; i++)
            {
                Var logTeacher = teacher[i] - teacherLse, logStudent = student[i] - studentLse;
                sum += Var.Exp(logTeacher) * (logTeacher - logStudent);
            }

            run.Add("loss", 0, sum / rows);
            run.EndPiece();
        }

        return run.Result();
    }

    private static void RequireLabels(int[] labels, int rows)
    {
        if (labels.Length != rows)
        {
            throw new ArgumentException($"{labels.Length} labels for {rows} rows.", nameof(labels));
        }
    }

    private static RefResult CrossEntropyRows(
        Differentiation run, int[] labels, CrossEntropyOptions options, RefTensor? dloss, double emptyMean, Func<int, Var[]> logitsOf)
    {
        int rows = labels.Length;
        bool hasZ = options.LseSquareScale != 0;
        bool each = options.Reduction == "none";
        int counted = labels.Count(x => x != options.IgnoreIndex);
        double divisor = options.Reduction switch
        {
            "mean" => counted,
            "sum" or "none" => 1,
            _ => throw new ArgumentException($"No reduction is named '{options.Reduction}'.", nameof(options)),
        };
        run.Output("loss", dloss, each ? rows : 1);
        if (hasZ)
        {
            run.Output("z_loss", null, each ? rows : 1);
        }

        if (divisor == 0)
        {
            run.Set("loss", 0, emptyMean);
            if (hasZ)
            {
                run.Set("z_loss", 0, emptyMean);
            }

            return run.Result();
        }

        for (int r = 0; r < rows; r++)
        {
            Var[] raw = logitsOf(r);
            if (labels[r] != options.IgnoreIndex)
            {
                (Var loss, Var z) = CrossEntropyRow(raw, labels[r], options);
                run.Add("loss", each ? r : 0, loss / divisor);
                if (hasZ)
                {
                    run.Add("z_loss", each ? r : 0, z / divisor);
                }
            }

            if (options.L2WarpFactor != 0)
            {
                // ½ f max²/R has the derivative wanted; taking its value off again leaves the loss alone.
                Var largest = raw.MaxBy(x => x.Value);
                Var penalty = 0.5 * options.L2WarpFactor * largest * largest / rows;
                run.Add("loss", each ? r : 0, penalty - penalty.Value);
            }

            run.EndPiece();
        }

        return run.Result();
    }

    private static (Var Loss, Var Z) CrossEntropyRow(Var[] raw, int label, CrossEntropyOptions options)
    {
        if (label < 0 || label >= raw.Length)
        {
            throw new ArgumentOutOfRangeException(nameof(label), label, $"Not a class of {raw.Length}.");
        }

        Var[] x = Array.ConvertAll(raw, a => options.LogitScale * a);
        if (options.LogitSoftcapping is { } cap)
        {
            x = Array.ConvertAll(x, a => cap * Var.Tanh(a / cap));
        }

        Var lse = Var.LogSumExp(x);
        Var z = options.LseSquareScale * lse * lse;
        double smoothing = options.LabelSmoothing;
        return (lse - ((1 - smoothing) * x[label]) - (smoothing * Var.Sum(x) / x.Length) + z, z);
    }
}
