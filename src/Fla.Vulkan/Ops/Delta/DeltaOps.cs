namespace Fla.Vulkan.Ops;

/// <summary>
/// The delta-rule family: a matrix-valued memory that corrects what it holds, S ← decay(S) + k β(v − Ŝᵀk)ᵀ, read by o = scale · Sᵀ q. Tensors are
/// sequence-first: q, k [B,T,H,K], v and o [B,T,HV,V], of one float type; states [N,HV,K,V] are fp32, N sequences; K is at most 256, V 512. Decays are
/// natural logarithms, at most 0. Where HV may be a multiple of H, value head h reads with query and key head ⌊h / (HV/H)⌋, and gates, β and states belong
/// to value heads.
/// </summary>
/// <remarks>
/// <para><c>Chunk*</c> works on chunks in parallel over time and is for training and prompts; <c>FusedRecurrent*</c> takes one token after another and is for
/// decoding: all activations happen in its one kernel, and <c>finalState</c> may be the initial state itself. Both give the same numbers, and gradients of every
/// float argument; those of the recurrent forms, which fla mostly lacks, are computed by the chunked one. With decays or step sizes for each value channel, a
/// gradient takes as much memory and time as V times the heads.</para>
/// <para>Arguments keep the order that fla gives them, which differs between the two forms of some ops: name them.</para>
/// <para>In the kernel: <c>useQkL2NormInKernel</c> divides q and k (and p) of every head by √(Σx² + 1e-6); <c>useBetaSigmoidInKernel</c> takes σ(β), with
/// <c>allowNegEigval</c> 2σ(β); <c>useGateInKernel</c> takes raw gates x and uses −e^aLog · softplus(x + dtBias), or with <c>lowerBound</c> ℓ &lt; 0
/// ℓ·σ(e^aLog (x + dtBias)).</para>
/// <para>Of fla's arguments these have no counterpart: safe_gate, lower_bound of the generalized rule, disable_recompute and checkpoint levels choose between kernels with the same results,
/// of which there is one here; cu_seqlens_cpu and chunk_indices are copies that <see cref="CuSeqlens"/> keeps itself; cp_context cuts a sequence over several
/// devices, and a call runs on one; head_first and transpose_state_layout are names that fla itself has dropped.</para>
/// </remarks>
public static partial class DeltaOps
{
    private static void CheckPositive(float? scale)
    {
        if (scale is { } given && !(given > 0)) throw new ArgumentOutOfRangeException(nameof(scale), given, "scale must be positive");
    }

    /// <summary>The chunked forms have one step size a head and token.</summary>
    private static void CheckHeadSteps(Tensor beta)
    {
        ArgumentNullException.ThrowIfNull(beta);
        Require.Rank(beta, 3, nameof(beta));
    }

    /// <summary>Heads are not shared: v has those of q.</summary>
    internal static void RequireOwnHeads(Tensor q, Tensor v)
    {
        ArgumentNullException.ThrowIfNull(q);
        ArgumentNullException.ThrowIfNull(v);
        if (q.Rank == 4 && v.Rank == 4) Require.Shape(v, "v", q.Size(0), q.Size(1), q.Size(2), v.Size(3));
    }
}
