namespace Fla.Vulkan.Ops;

/// <summary>
/// Losses of a linear head, taken a chunk of rows at a time so that the logits of all rows never exist at once. The gradients are made with the loss, in
/// the forward pass, and backward only scales them (as fla's fused losses do).
/// </summary>
public static class FusedLinearLosses
{
    private const int DefaultChunks = 8;

    private static readonly Kernel<KlArgs> KlKernel = new("loss/kl_divergence");

    private readonly record struct KlArgs(InOut Student, In Teacher, Out Loss, uint Rows, uint Width, uint WantsGradient, float Scale);

    /// <summary>Cross entropy of x·Wᵀ + b against labels, as <see cref="Losses.CrossEntropy"/> of these logits, but 0 when every row is ignored.</summary>
    /// <param name="x">[..., D].</param>
    /// <param name="labels">One for each row, i32 or i64.</param>
    /// <param name="weight">[V, D], of x's type.</param>
    /// <param name="bias">[V], of x's type; or null.</param>
    /// <param name="options">Plain mean cross entropy when null; one loss for each row only where no gradients are recorded.</param>
    /// <param name="numChunks">At most so many chunks; fewer when D is not much smaller than V.</param>
    /// <returns>A scalar [], or [R] for <see cref="LossReduction.None"/>, in f32.</returns>
    /// <exception cref="ShapeException">Sizes do not fit, there is no row, or the reduction is none while gradients are recorded.</exception>
    /// <exception cref="DTypeException">Types differ, or the labels are no integers.</exception>
    public static Tensor CrossEntropy(Tensor x, Tensor labels, Tensor weight, Tensor? bias = null, CrossEntropyOptions? options = null, int numChunks = DefaultChunks) =>
        CrossEntropy(x, labels, weight, bias, options, numChunks, isPacked: null);

    /// <summary>The same, with logits as fragments or not; where that is fastest when null.</summary>
    internal static Tensor CrossEntropy(Tensor x, Tensor labels, Tensor weight, Tensor? bias, CrossEntropyOptions? options, int numChunks, bool? isPacked)
    {
        options ??= new();
        CrossEntropyRows.CheckLabels(labels);
        using var scope = new TensorScope();
        var head = new Head(x, weight, bias, numChunks, isPacked);
        Require.That(labels.Count == head.Rows, $"labels {labels.Describe()} are not one for each row of {x.Describe()}");
        var hasFragments = isPacked ?? (bias is null && head.IsPacked && PackedCrossEntropy.Can(x.Device, x.DType, head.Classes, options));
        var gradients = HeadGradients.For(head, x, weight, bias, hasFragments);
        Require.That(gradients is null || options.Reduction != LossReduction.None, "a fused linear cross entropy with gradients is a mean or a sum");
        var each = Tensor.Empty(x.Device, DType.Float32, head.Rows);
        var flat = labels.Detach().View(head.Rows);
        var count = options.Reduction == LossReduction.Mean ? CrossEntropyRows.Count(labels, options.IgnoreIndex, least: 1) : null;
        for (var (start, length) = (0, 0); start < head.Rows; start += length)
        {
            using var chunk = new TensorScope();
            length = Math.Min(head.ChunkRows, head.Rows - start);
            if (hasFragments)
            {
                var fragments = head.Fragments(start, length);
                var transposed = gradients?.Transposed(length);
                PackedCrossEntropy.Run(fragments, flat.Narrow(start, length), options.IgnoreIndex, each.Narrow(start, length), gradients is not null, transposed);
                gradients?.Add(head, start, fragments, transposed);
                continue;
            }
            var logits = head.Logits(start, length);
            // Upstream and divisor are both the count: gradients stay of the size of probabilities, whatever the number of rows, and backward divides.
            CrossEntropyRows.Run(logits, flat.Narrow(start, length), options, each.Narrow(start, length), dlogits: gradients is null ? null : logits,
                upstream: count, divisor: count, totalRows: head.Rows);
            gradients?.Add(head, start, logits);
        }
        if (options.Reduction == LossReduction.None) return scope.Keep(each);
        var loss = Reductions.Run(each, 1, head.Rows, 1, Reduction.Sum, DType.Float32, [], 1, count);
        gradients?.Record("fused_linear_cross_entropy", loss, x, weight, bias, count);
        return scope.Keep(loss);
    }

    /// <summary>
    /// Kullback-Leibler divergence Σ p_t (ln p_t − ln p_s) / rows of a student's head from a teacher's, p_s = softmax(x·Wᵀ / temperature),
    /// p_t = softmax(target·targetWᵀ / temperature), for distillation (Hinton et al. 2015). Gradients flow to the student alone.
    /// </summary>
    /// <param name="x">The student's states [..., D].</param>
    /// <param name="target">The teacher's states [..., E], as many rows.</param>
    /// <param name="weight">The student's head [V, D].</param>
    /// <param name="targetWeight">The teacher's head [V, E].</param>
    /// <param name="numChunks">At most so many chunks.</param>
    /// <param name="temperature">What logits are divided by; gradients fall with its square.</param>
    /// <returns>A scalar [] in f32.</returns>
    /// <exception cref="ShapeException">Sizes do not fit, or the temperature is not positive.</exception>
    /// <exception cref="AutogradException">The teacher requires a gradient.</exception>
    public static Tensor KlDivergence(Tensor x, Tensor target, Tensor weight, Tensor targetWeight, int numChunks = DefaultChunks, float temperature = 1)
    {
        Require.That(temperature > 0 && float.IsFinite(temperature), $"a temperature is positive, not {temperature}");
        if (Autograd.IsRecording(target, targetWeight)) throw new AutogradException("no gradient flows to the teacher of a divergence: detach its states and its head");
        using var scope = new TensorScope();
        var head = new Head(x, weight, null, numChunks);
        var teacher = new Head(target, targetWeight, null, numChunks);
        Require.SameDevice(x, target);
        Require.Type(target, x.DType, nameof(target));
        Require.That(head.Rows == teacher.Rows && head.Classes == teacher.Classes, $"student {x.Describe()}, {weight.Describe()} and teacher {target.Describe()}, {targetWeight.Describe()} differ");
        var gradients = HeadGradients.For(head, x, weight, null);
        var each = Tensor.Empty(x.Device, DType.Float32, head.Rows);
        for (var (start, length) = (0, 0); start < head.Rows; start += length)
        {
            using var chunk = new TensorScope();
            length = Math.Min(head.ChunkRows, head.Rows - start);
            var logits = head.Logits(start, length);
            KlKernel.Launch(x.Device, new(logits, teacher.Logits(start, length), each.Narrow(start, length), (uint)length, (uint)head.Classes, gradients is null ? 0u : 1, 1 / temperature),
                Grid.Linear(length), x.DType.Variant(), RowLayout.Workgroup);
            gradients?.Add(head, start, logits);
        }
        var rows = Tensor.Full(x.Device, DType.Float32, head.Rows, 1);
        var loss = Reductions.Run(each, 1, head.Rows, 1, Reduction.Sum, DType.Float32, [], 1, rows);
        gradients?.Record("fused_linear_kl_divergence", loss, x, weight, null, rows);
        return scope.Keep(loss);
    }

    /// <summary>A linear head whose rows are taken in chunks.</summary>
    private sealed class Head
    {
        private readonly Tensor? _bias;
        private readonly Operand _classes;

        public Head(Tensor x, Tensor weight, Tensor? bias, int numChunks, bool? isPacked = null)
        {
            Require.SameDevice(x, weight, bias);
            Require.Float(x, "x");
            Require.Rank(weight, 2, "weight");
            Require.That(numChunks > 0, $"numChunks is positive, not {numChunks}");
            Require.That(x.Rank > 0 && x.Size(-1) == weight.Size(1), $"x needs {weight.Size(1)} features to meet the weight {weight.Describe()}, it is {x.Describe()}");
            Require.Shape(bias, "bias", weight.Size(0));
            var rows = RowLayout.RowCount(x);
            Require.That(rows is > 0 and <= int.MaxValue, $"{x.Describe()} has no row, or too many");
            (Rows, Classes, Width) = ((int)rows, weight.Size(0), weight.Size(1));
            Require.That(Classes > 0 && Width > 0, $"the weight {weight.Describe()} has no classes");
            States = x.Detach().View(Rows, Width);
            Weight = weight;
            _bias = bias;
            var chunks = Math.Min(numChunks, (Classes + Width - 1) / Width);
            ChunkRows = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)((Rows + chunks - 1) / chunks));
            _classes = Pack(new(weight, Classes, Width, Transposed: true), isPacked);
            IsPacked = _classes.Packed is not null;
        }

        /// <summary>Products of a chunk are made of packed operands.</summary>
        public bool IsPacked { get; }

        public int Rows { get; }

        public int Classes { get; }

        public int Width { get; }

        public int ChunkRows { get; }

        public Tensor States { get; }

        public Tensor Weight { get; }

        public Tensor Logits(int start, int length)
        {
            var logits = Tensor.Empty(States.Device, States.DType, length, Classes);
            Gemm.Run(new(States.Narrow(start, length), length, Width), _classes, logits, bias: _bias);
            return logits;
        }

        /// <summary>The same as fragments.</summary>
        public PackedOperand Fragments(int start, int length)
        {
            using var states = PackedOperand.Of(new(States.Narrow(start, length), length, Width), isB: false, 1);
            return PackedProduct.Chained(states, _classes.Packed!);
        }

        /// <summary>The weight, packed where products of a chunk want it so, or as asked.</summary>
        public Operand Pack(Operand weight, bool? isPacked) =>
            isPacked is true ? weight with { Packed = PackedOperand.Of(weight, isB: true, 1) } : weight.PackedForRows(Math.Min(Rows, ChunkRows));
    }

    /// <summary>The gradients of a head for an upstream gradient of one, summed over chunks; those of the parameters in fp32.</summary>
    private sealed class HeadGradients
    {
        private readonly Tensor? _dx;
        private readonly Tensor? _dw;
        private readonly Tensor? _db;
        private readonly bool _hasFragments;
        private readonly Operand _weight;

        private HeadGradients(Head head, Tensor? dx, Tensor? dw, Tensor? db, bool hasFragments)
        {
            (_dx, _dw, _db, _hasFragments) = (dx, dw, db, hasFragments);
            _weight = new(head.Weight, head.Classes, head.Width);
            if (dx is not null) _weight = head.Pack(_weight, hasFragments ? true : null);
        }

        /// <summary>Null when nothing is recorded.</summary>
        public static HeadGradients? For(Head head, Tensor x, Tensor weight, Tensor? bias, bool hasFragments = false)
        {
            if (!Autograd.IsRecording(x, weight, bias)) return null;
            var dw = !weight.RequiresGrad ? null : hasFragments ? PackedProduct.EmptySums(x.Device, head.Classes, head.Width) : Tensor.ZerosLike(weight, DType.Float32);
            return new(head, x.RequiresGrad ? Tensor.EmptyLike(x) : null, dw, bias is { RequiresGrad: true } ? Tensor.ZerosLike(bias, DType.Float32) : null, hasFragments);
        }

        /// <summary>Room for the transpose of the gradients of so many rows of logits; null when nothing wants it.</summary>
        public PackedOperand? Transposed(int rows) => _dw is { } dw ? PackedOperand.Empty(dw.Device, _weight.Tensor.DType, _weight.Rows, rows) : null;

        public void Add(Head head, int start, PackedOperand dlogits, PackedOperand? transposed)
        {
            if (_dx is { } dx) Gemm.Run(Operand.Of(dlogits), _weight, dx.View(head.Rows, head.Width).Narrow(start, dlogits.Rows));
            if (_dw is not { } dw) return;
            using var states = PackedOperand.Of(new(head.States.Narrow(start, dlogits.Rows), dlogits.Rows, head.Width), isB: true, 1);
            PackedProduct.Sum(transposed!, states, dw, isFirst: start == 0);
        }

        public void Add(Head head, int start, Tensor dlogits)
        {
            var length = dlogits.Size(0);
            var gradient = new Operand(dlogits, length, head.Classes);
            if (_dx is { } dx) Gemm.Run(gradient, _weight, dx.View(head.Rows, head.Width).Narrow(start, length));
            if (_dw is { } dw) Gemm.Run(gradient with { Transposed = true }, new(head.States.Narrow(start, length), length, head.Width), dw, d: dw);
            if (_db is not { } db) return;
            var ones = Tensor.Full(dlogits.Device, dlogits.DType, 1, length, 1);
            Gemm.Run(new(ones, length, 1, Transposed: true), gradient, db.View(1, head.Classes), d: db.View(1, head.Classes));
        }

        public void Record(string name, Tensor loss, Tensor x, Tensor weight, Tensor? bias, Tensor? count) =>
            Autograd.Record(name, [x, weight, bias], [loss], [_dx, _dw, _db, count], static (ctx, dy) =>
            {
                if (dy[0] is not { } given) return [null, null, null];
                var (types, sums) = ctx.State<(DType[], int[]?)>();
                var factor = given.As(DType.Float32).View(1);
                if (ctx.Saved(3) is { } count) factor = Elementwise.Div(factor, count);
                return [.. types.Select((type, i) => ctx.Saved(i) is not { } gradient ? null
                    : i == 1 && sums is not null ? Stored(gradient, factor, type, sums) : Elementwise.Mul(gradient, factor).As(type))];
            }, (new[] { x.DType, weight.DType, bias?.DType ?? DType.Float32 }, _hasFragments ? weight.Shape.ToArray() : null));

        private static Tensor Stored(Tensor sums, Tensor factor, DType type, int[] shape)
        {
            var rows = Tensor.Empty(sums.Device, type, shape);
            PackedProduct.Store(sums, factor, rows);
            return rows;
        }
    }
}
