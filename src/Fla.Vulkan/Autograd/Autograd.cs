namespace Fla.Vulkan;

/// <summary>
/// The tape. Operators record a node with a hand-written backward; a backward pass walks the nodes from the newest to the oldest. Reverse-mode
/// differentiation of first order: backward functions are not recorded themselves.
/// </summary>
public static class Autograd
{
    [ThreadStatic]
    private static bool _isOff;

    [ThreadStatic]
    private static bool _isReplayed;

    /// <summary>False inside <see cref="NoGrad"/> on this thread.</summary>
    public static bool IsEnabled => !_isOff;

    /// <summary>
    /// True where kernels that only do without gradients may take the place of those with: nothing is recorded, and nothing that runs now runs again recorded,
    /// as the function of a <see cref="Checkpoint"/> does, which has to give the same both times.
    /// </summary>
    public static bool IsInference => _isOff && !_isReplayed;

    /// <summary>Nothing is recorded on this thread until the result is disposed.</summary>
    public static IDisposable NoGrad() => new Mode(off: true);

    /// <summary>Recording is on again on this thread until the result is disposed.</summary>
    public static IDisposable EnableGrad() => new Mode(off: false);

    /// <summary>True when an operation on these tensors has to be recorded.</summary>
    public static bool IsRecording(params ReadOnlySpan<Tensor?> inputs)
    {
        if (_isOff) return false;
        foreach (var input in inputs)
        {
            if (input is { RequiresGrad: true }) return true;
        }
        return false;
    }

    /// <summary>Records an operation.</summary>
    /// <param name="name">Its name, for messages.</param>
    /// <param name="inputs">Tensors that may receive gradients; entries may be null.</param>
    /// <param name="outputs">Tensors it made; their history becomes this operation.</param>
    /// <param name="saved">Tensors that backward needs; kept alive until then. Entries may be null.</param>
    /// <param name="backward">From the gradients of the outputs (null where none flows) to those of the inputs, as fresh tensors.</param>
    /// <param name="state">Scalars that backward needs.</param>
    public static void Record(string name, ReadOnlySpan<Tensor?> inputs, ReadOnlySpan<Tensor> outputs, ReadOnlySpan<Tensor?> saved,
        Func<BackwardContext, Tensor?[], Tensor?[]> backward, object? state = null)
    {
        var edges = new GradEdge[inputs.Length];
        for (var i = 0; i < edges.Length; i++) edges[i] = inputs[i]?.Edge ?? default;
        foreach (var edge in edges) edge.Node?.Retain();
        var kept = new Tensor?[saved.Length];
        var versions = new int[saved.Length];
        for (var i = 0; i < kept.Length; i++)
        {
            kept[i] = saved[i]?.Detach().Own();
            versions[i] = saved[i]?.Storage.Version ?? 0;
        }
        var shapes = new (DType, int[])[outputs.Length];
        for (var i = 0; i < shapes.Length; i++) shapes[i] = (outputs[i].DType, outputs[i].Shape.ToArray());
        var node = new GradNode { Name = name, Inputs = edges, Saved = kept, SavedVersions = versions, Outputs = shapes, Backward = backward, State = state };
        for (var i = 0; i < outputs.Length; i++) outputs[i].AttachTo(node, i);
        FiniteWatch.Current?.Made(node, outputs);
    }

    /// <summary>Runs the tape backwards from a tensor and adds the gradients to its leaves' <see cref="Tensor.Grad"/>.</summary>
    /// <param name="output">Where to begin.</param>
    /// <param name="gradient">Gradient of the output, of its shape; null means 1 and needs a scalar.</param>
    /// <exception cref="AutogradException">The output has no history, its history was used before, or a saved tensor was overwritten since.</exception>
    public static void Backward(Tensor output, Tensor? gradient = null) => Backward([output], [gradient]);

    /// <summary>As the other form, from several tensors at once.</summary>
    public static void Backward(ReadOnlySpan<Tensor> outputs, ReadOnlySpan<Tensor?> gradients)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad();
        var edges = new GradEdge[outputs.Length];
        var given = Check(outputs, gradients, edges);
        using var run = new BackwardRun();
        for (var i = 0; i < edges.Length; i++) run.Add(edges[i], given[i]);
        run.Walk();
    }

    /// <summary>
    /// Runs the tape backwards and returns the gradients of some leaves in place of adding them to <see cref="Tensor.Grad"/>, so that several threads
    /// can go back to the same leaves at once. Leaves that are not named are treated as by <see cref="Backward(Tensor, Tensor?)"/>.
    /// </summary>
    /// <param name="outputs">Where to begin.</param>
    /// <param name="gradients">Gradients of the outputs; null means 1 and needs a scalar.</param>
    /// <param name="leaves">Leaves that require a gradient.</param>
    /// <returns>One for each leaf, null where none flows.</returns>
    /// <exception cref="AutogradException">As for a backward pass, or one of the leaves is none.</exception>
    public static Tensor?[] Grad(ReadOnlySpan<Tensor> outputs, ReadOnlySpan<Tensor?> gradients, ReadOnlySpan<Tensor> leaves)
    {
        var wanted = new GradLeaf[leaves.Length];
        for (var i = 0; i < wanted.Length; i++)
        {
            wanted[i] = leaves[i].Edge.Leaf ?? throw new AutogradException($"{leaves[i].Describe()} is no leaf that requires a gradient");
        }
        var edges = new GradEdge[outputs.Length];
        using var scope = new TensorScope();
        var given = Check(outputs, gradients, edges);
        return [.. Grad(edges, given, wanted).Select(gradient => gradient is null ? null : scope.Keep(gradient))];
    }

    /// <summary>As the public form, from edges of the tape whose outputs need not live any more.</summary>
    /// <param name="edges">Where to begin.</param>
    /// <param name="gradients">One for each.</param>
    /// <param name="leaves">Whose gradients to return.</param>
    internal static Tensor?[] Grad(ReadOnlySpan<GradEdge> edges, ReadOnlySpan<Tensor> gradients, ReadOnlySpan<GradLeaf> leaves)
    {
        var wanted = new Dictionary<GradLeaf, Tensor?>();
        foreach (var leaf in leaves) wanted.TryAdd(leaf, null);
        try
        {
            using (new TensorScope())
            using (NoGrad())
            using (var run = new BackwardRun(wanted))
            {
                for (var i = 0; i < edges.Length; i++) run.Add(edges[i], gradients[i].Detach());
                run.Walk();
            }
            var results = new Tensor?[leaves.Length];
            for (var i = 0; i < results.Length; i++) results[i] = wanted[leaves[i]]?.Detach();
            return results;
        }
        finally
        {
            foreach (var gradient in wanted.Values) gradient?.Dispose();
        }
    }

    private static Tensor[] Check(ReadOnlySpan<Tensor> outputs, ReadOnlySpan<Tensor?> gradients, Span<GradEdge> edges)
    {
        var given = new Tensor[outputs.Length];
        for (var i = 0; i < given.Length; i++)
        {
            var output = outputs[i];
            if (!output.RequiresGrad) throw new AutogradException($"{output.Describe()} does not depend on anything that requires a gradient");
            if (gradients[i] is { } own && !own.HasShape(output.Shape)) throw new ShapeException($"the gradient {own.Describe()} does not fit the output {output.Describe()}");
            if (gradients[i] is null && output.Count != 1) throw new AutogradException($"{output.Describe()} is no scalar: give its gradient");
            edges[i] = output.Edge;
            given[i] = gradients[i]?.Detach() ?? Tensor.Full(output.Device, output.DType, 1, output.Shape);
        }
        return given;
    }

    /// <summary>
    /// Runs a function without keeping its intermediates; backward runs it again (gradient checkpointing, Chen et al. 2016). The function must be deterministic.
    /// </summary>
    /// <param name="function">From the inputs to the outputs; parameters it uses may be captured and receive gradients.</param>
    /// <param name="inputs">Tensors through which gradients flow back.</param>
    /// <returns>The outputs.</returns>
    public static Tensor[] Checkpoint(Func<Tensor[], Tensor[]> function, params Tensor[] inputs)
    {
        if (_isOff) return function(inputs);
        Tensor[] outputs;
        if (FiniteWatch.Current != null)
        {
            // A watch sees recorded operations only: for it the function is recorded, and forgotten again.
            using var forgotten = new TensorScope();
            function(NotNull(Leaves(inputs, i => inputs[i].RequiresGrad)));
        }
        using (var scope = new TensorScope())
        using (new Mode(off: true, isReplayed: true))
        {
            outputs = function(inputs).Select(o => inputs.Contains(o) ? o.Detach() : o).Select(scope.Keep).ToArray();
        }
        RecordReplay("checkpoint", inputs, outputs, leaves => function(NotNull(leaves)));
        return outputs;
    }

    /// <summary>Records outputs whose gradients come from a function of the same inputs, run when they are wanted; entries of the inputs may be null.</summary>
    internal static void RecordReplay(string name, Tensor?[] inputs, ReadOnlySpan<Tensor> outputs, Func<Tensor?[], Tensor[]> function) =>
        Record(name, inputs, outputs, inputs, (ctx, dy) =>
        {
            using var scope = new TensorScope();
            using var grad = EnableGrad();
            var leaves = Leaves([.. Enumerable.Range(0, inputs.Length).Select(ctx.Saved)], ctx.Needs);
            var again = function(leaves);
            var used = Enumerable.Range(0, again.Length).Where(i => dy[i] != null && again[i].RequiresGrad).ToArray();
            if (used.Length > 0) Backward(used.Select(i => again[i]).ToArray(), used.Select(i => dy[i]).ToArray());
            return leaves.Select(l => l?.Grad is { } g ? scope.Keep(g.Detach()) : null).ToArray();
        });

    /// <summary>The same tensors, from which a tape of its own begins.</summary>
    private static Tensor?[] Leaves(Tensor?[] tensors, Func<int, bool> needsGradient) => [.. tensors.Select((tensor, i) =>
    {
        var leaf = tensor?.Detach();
        if (leaf is not null) leaf.RequiresGrad = needsGradient(i);
        return leaf;
    })];

    private static Tensor[] NotNull(Tensor?[] tensors) => Array.ConvertAll(tensors, x => x!);

    private sealed class Mode : IDisposable
    {
        private readonly (bool IsOff, bool IsReplayed) _before = (_isOff, _isReplayed);

        public Mode(bool off, bool isReplayed = false) => (_isOff, _isReplayed) = (off, isReplayed || (_isReplayed && off));

        public void Dispose() => (_isOff, _isReplayed) = _before;
    }
}
