namespace Fla.Vulkan.Ops;

/// <summary>The kind of decay that the delta kernels are specialised for (shaders/delta/gates.glsl).</summary>
internal enum DeltaGate : uint
{
    None,
    Heads,
    Channels,
}

/// <summary>What a chunk's tokens erase and write, and the decay between them.</summary>
/// <param name="A">Erasing rows [B,T,H,K].</param>
/// <param name="K">Keys [B,T,H,K].</param>
/// <param name="V">Values [B,T,H,V].</param>
/// <param name="Beta">fp32 [B,T,H], or null for 1.</param>
/// <param name="Cumulative">Log decay summed inside each chunk, fp32 [B,T,H] or [B,T,H,K], or null.</param>
/// <param name="ReadsUndecayed">Whether a token reads the state before its own decay.</param>
internal sealed record DeltaOperands(Tensor A, Tensor K, Tensor V, Tensor? Beta, Tensor? Cumulative, bool ReadsUndecayed)
{
    /// <summary>Kind of the decay.</summary>
    public DeltaGate Gate => Cumulative is null ? DeltaGate.None : Cumulative.Rank == 3 ? DeltaGate.Heads : DeltaGate.Channels;
}
