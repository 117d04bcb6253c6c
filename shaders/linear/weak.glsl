// Weak and strong decays of a chunk. With rho the cumulative decay G in the chunk's middle, e^{G_r - G_s} = e^{G_r - rho} e^{rho - G_s}: one of the
// factors exceeds 1, which does no harm while it is far inside the range of the operands' type. A chunk is weak when no factor exceeds
// e^{WEAKEST}: then one product takes all its pairs. Strong chunks are taken level by level (levels.glsl), where no factor exceeds 1.
// fp16 has not the range for that: all its chunks are strong.
#if defined(MM_coopmat) && defined(T_f16)
const float WEAKEST = -1;
#else
const float WEAKEST = 60;
#endif

shared uint strongChannels;

uint middleToken(uint count) { return count / 2; }

// G [count, channels] falls from token to token, so its ends tell. Every invocation calls this, and all get the same answer.
bool isWeakChunk(F32Buf gates, uint channels, uint stride, uint count) {
    if (WEAKEST < 0) return false;
    if (gl_LocalInvocationIndex == 0) strongChannels = 0;
    barrier();
    bool strong = false;
    for (uint c = gl_LocalInvocationIndex; c < channels; c += gl_WorkGroupSize.x) {
        float middle = gates.v[middleToken(count) * stride + c];
        strong = strong || !(max(gates.v[c] - middle, middle - gates.v[(count - 1) * stride + c]) <= WEAKEST);
    }
    if (strong) strongChannels = 1;
    barrier();
    return strongChannels == 0;
}
