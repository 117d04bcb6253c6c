// Which tokens make up a sequence or a chunk. Tokens are counted over batch and time together.
//   dense  (packed null): sequence n is tokens [n T, n T + T), its chunks are n NT .. n NT + NT - 1, NT = ceil(T / C)
//   packed: I32 table of cu_seqlens [N+1], chunk offsets [N+1], then a pair (sequence, chunk within it) for each chunk;
//           pairs that no chunk uses have sequence -1.
struct Span { uint first; uint count; };

Span sequenceSpan(I32Buf packed, uint n, uint T) {
    if (isNull(packed)) return Span(n * T, T);
    return Span(uint(packed.v[n]), uint(packed.v[n + 1] - packed.v[n]));
}

uint firstChunk(I32Buf packed, uint N, uint n, uint T, uint C) {
    return isNull(packed) ? n * ((T + C - 1) / C) : uint(packed.v[N + 1 + n]);
}

struct Chunk { int sequence; uint index; Span tokens; };

Chunk chunkAt(I32Buf packed, uint N, uint c, uint T, uint C) {
    uint NT = (T + C - 1) / C;
    Chunk r = Chunk(int(c / NT), c % NT, Span(0, 0));
    if (!isNull(packed)) {
        r.sequence = packed.v[2 * (N + 1) + 2 * c];
        r.index = uint(packed.v[2 * (N + 1) + 2 * c + 1]);
    }
    if (r.sequence >= 0) {
        Span s = sequenceSpan(packed, uint(r.sequence), T);
        r.tokens = Span(s.first + r.index * C, min(C, s.count - r.index * C));
    }
    return r;
}
