namespace Fla.Vulkan.Ops;
internal static class FusedChunk { public static (Tensor O, Tensor? FinalState) Run(LinearShape shape, int chunk, Tensor q, Tensor k, Tensor v, Tensor? g, HeadDecay decay, float scale, Tensor? initialState, bool outputFinalState) => throw new NotSupportedException(); }
