namespace Fla.Vulkan.Ops;

/// <summary>RECUR-Δ: the memory with a correcting write, one token at a time, with every activation inside (shaders/delta/recurrent.comp).</summary>
internal static class RecurrentDelta
{
    private const int Columns = 32;
    private const int Groups = 8;

    private static readonly Kernel<Args> Kernel = new("delta/recurrent");

    private readonly record struct Args(In Q, In K, In V, In A, In B, Out O, In Beta, In G, In Gk, In Gv, In W, In ALog, In Bias, In H0, Out Ht, In Packed, In Slots,
        uint T, uint H, uint HV, uint K_, uint V_, uint Groups, uint Steps, uint Flags, uint Types, uint SlotCount, float Scale, float BetaScale, float Lower);

    /// <summary>What the kernel does besides the plain recurrence; numbers as in the shader.</summary>
    [Flags]
    internal enum Switches : uint
    {
        None = 0,
        Reverse = 1,
        ReadsUndecayed = 2,
        Transposed = 4,
        L2Norm = 8,
        EraseTimesKey = 16,
        NegatedErase = 32,
        BetaSigmoid = 64,
        BetaVector = 128,
        Gate = 256,
        BoundedGate = 512,
        TokenStates = 1024,
    }

    /// <summary>Inputs of the recurrence; all but q, k and v may be null.</summary>
    internal sealed record Inputs(Tensor Q, Tensor K, Tensor V)
    {
        /// <summary>Erase rows of q's type and shape.</summary>
        public Tensor? A { get; init; }

        /// <summary>Where the correction is written: DPLR.</summary>
        public Tensor? B { get; init; }

        /// <summary>Step sizes.</summary>
        public Tensor? Beta { get; init; }

        /// <summary>Log decay a head.</summary>
        public Tensor? G { get; init; }

        /// <summary>Log decay a key channel.</summary>
        public Tensor? Gk { get; init; }

        /// <summary>Log decay a value channel.</summary>
        public Tensor? Gv { get; init; }

        /// <summary>Factors of the values.</summary>
        public Tensor? W { get; init; }

        /// <summary>Logarithm of the gate's rate.</summary>
        public Tensor? ALog { get; init; }

        /// <summary>Bias of the gate.</summary>
        public Tensor? DtBias { get; init; }

        /// <summary>What is switched on.</summary>
        public Switches Switches { get; init; }

        /// <summary>Rows of k, v and β that a token has.</summary>
        public int Steps { get; init; } = 1;

        /// <summary>Factor of σ(β).</summary>
        public float BetaScale { get; init; } = 1;

        /// <summary>Least decay of the bounded gate.</summary>
        public float LowerBound { get; init; }
    }

    /// <summary>Runs the recurrence; records nothing.</summary>
    /// <param name="shape">Sizes; its heads are those of v.</param>
    /// <param name="inputs">Tensors that fit them.</param>
    /// <param name="scale">Factor of q.</param>
    /// <param name="initialState">fp32, or null.</param>
    /// <param name="ht">Where the final state goes; null when it is not wanted.</param>
    /// <param name="slots">Where in <paramref name="initialState"/> and <paramref name="ht"/>, which are pools of states then, each sequence has its own.</param>
    /// <returns>o [B,T,HV,V] in q's type.</returns>
    public static Tensor Run(LinearShape shape, Inputs inputs, float scale, Tensor? initialState, Tensor? ht, StateSlots? slots = null)
    {
        var o = Tensor.Empty(inputs.Q.Device, inputs.Q.DType, shape.B, shape.T, shape.H, shape.V);
        Tensor?[] typed = [inputs.Beta, inputs.G, inputs.Gk, inputs.Gv, inputs.W, inputs.ALog, inputs.DtBias];
        var types = typed.Select((x, i) => RowLayout.TypeCode(x) << (4 * i)).Aggregate((a, b) => a | b);
        var groups = (long)shape.N * shape.H * ((shape.V + Columns - 1) / Columns);
        uint rows = shape.K switch { <= 64 => 8, <= 128 => 16, _ => 32 };
        Kernel.Launch(o.Device,
            new(inputs.Q, inputs.K, inputs.V, inputs.A, inputs.B, o, inputs.Beta, inputs.G, inputs.Gk, inputs.Gv, inputs.W, inputs.ALog, inputs.DtBias,
                initialState, ht, shape.Packed?.Starts, slots?.Table, (uint)shape.T, (uint)inputs.Q.Size(2), (uint)shape.H, (uint)shape.K, (uint)shape.V, (uint)groups,
                (uint)inputs.Steps, (uint)inputs.Switches, types, (uint)(slots?.PerSequence ?? 0), scale, inputs.BetaScale, inputs.LowerBound),
            Grid.Linear(groups), o.DType.Variant(), Columns * Groups, rows, slots is null ? 0u : 1);
        return o;
    }

    /// <summary>Where the final state goes: the caller's place, a fresh tensor, or nowhere.</summary>
    /// <exception cref="ShapeException">A place for it where gradients are recorded, or one of another shape.</exception>
    public static Tensor? FinalState(LinearShape shape, Tensor q, bool outputFinalState, bool vFirst, Tensor? finalState, ReadOnlySpan<Tensor?> inputs)
    {
        if (finalState is null) return outputFinalState ? Tensor.Empty(q.Device, DType.Float32, shape.State(vFirst)) : null;
        Require.That(!Autograd.IsRecording(inputs), "finalState can be written in place only where no gradients are recorded");
        Require.SameDevice(q, finalState);
        Require.Type(finalState, DType.Float32, "finalState");
        Require.Shape(finalState, "finalState", shape.State(vFirst));
        return finalState;
    }
}
