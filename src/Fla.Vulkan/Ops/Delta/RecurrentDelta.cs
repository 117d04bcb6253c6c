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
    private enum Switches : uint
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

    /// <summary>Runs the recurrence; records nothing.</summary>
    /// <param name="shape">Sizes; its heads are those of v.</param>
    /// <param name="rule">The call.</param>
    /// <param name="initialState">fp32, or null.</param>
    /// <param name="ht">Where the final state goes; null when it is not wanted.</param>
    /// <param name="slots">Where in <paramref name="initialState"/> and <paramref name="ht"/>, which are pools of states then, each sequence has its own.</param>
    /// <param name="hasTokenStates"><paramref name="ht"/> is no pool but gets the state after each token.</param>
    /// <returns>o [B,T,HV,V] in q's type.</returns>
    public static Tensor Run(LinearShape shape, DeltaRule rule, Tensor? initialState, Tensor? ht, StateSlots? slots = null, bool hasTokenStates = false)
    {
        var (q, act) = (rule.Q, rule.Activations);
        var o = Tensor.Empty(q.Device, q.DType, shape.B, shape.T, shape.H, shape.V);
        var switches = (rule.Reverse ? Switches.Reverse : 0)
            | (rule.ReadsUndecayed ? Switches.ReadsUndecayed : 0)
            | (rule.StateVFirst ? Switches.Transposed : 0)
            | (act.UseQkL2Norm ? Switches.L2Norm : 0)
            | (rule.EraseGate is null ? 0 : Switches.EraseTimesKey)
            | (rule.IsProduct ? Switches.NegatedErase : 0)
            | (act.UseBetaSigmoid ? Switches.BetaSigmoid : 0)
            | (rule.Beta is { Rank: 4 } ? Switches.BetaVector : 0)
            | (act.UseGate ? Switches.Gate : 0)
            | (act.UseGate && act.LowerBound is not null ? Switches.BoundedGate : 0)
            | (hasTokenStates ? Switches.TokenStates : 0);
        Tensor?[] typed = [rule.Beta, rule.G, rule.Gk, rule.Gv, rule.WriteGate, act.ALog, act.DtBias];
        var types = typed.Select((x, i) => RowLayout.TypeCode(x) << (4 * i)).Aggregate((a, b) => a | b);
        var groups = (long)shape.N * shape.H * ((shape.V + Columns - 1) / Columns);
        uint rows = shape.K switch { <= 64 => 8, <= 128 => 16, _ => 32 };
        Kernel.Launch(o.Device,
            new(q, rule.K, rule.V, rule.EraseGate ?? rule.P, rule.B, o, rule.Beta, rule.G, rule.Gk, rule.Gv, rule.WriteGate, act.ALog, act.DtBias,
                initialState, ht, shape.Packed?.Starts, slots?.Table, (uint)shape.T, (uint)q.Size(2), (uint)shape.H, (uint)shape.K, (uint)shape.V, (uint)groups,
                (uint)rule.Householders, (uint)switches, types, (uint)(slots?.PerSequence ?? 0), rule.ScaleOf(shape.K), act.AllowNegEigval ? 2 : 1, act.LowerBound ?? 0),
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
