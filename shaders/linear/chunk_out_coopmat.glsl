// chunk_out.comp over cooperative matrices: `first` and `count` are the chunk's tokens, `state` and `dot0` where its state and the dots of its first token lie.
const uint PARTS = (SLICE + 63) / 64;                      // operands of 64 columns that a slice of a makes
#define ROWS Tile(0, tileStride(SLICE), false)
#define SCORES Tile(TILE_CPU ? QUADS_ROWS : 0u, tileStride(64), false)
#define GIVEN_A Tile(SCORES.at, tileStride(64), MODE == 1 && reverse)
#define PIECE Tile(PLACE, tileStride(SLICE), false)
#define STATE Tile(PLACE, stateT ? tileStride(HALF) : tileStride(64 * TILES), stateT)
#define VALUES Tile(PLACE, tileStride(64 * TILES), false)
Tile sixtyFour(Tile tile, uint t) { return Tile(tile.at + (tile.transposed ? 64 * t * tile.stride : 16 * t), tile.stride, tile.transposed); }    // the t-th 64 columns
const uint RUNS = TILE_RUNS(64, SLICE), RUNS_S = TILE_RUNS(HALF, 64 * TILES), RUNS_C = TILE_RUNS(64, 64 * TILES), RUNS_A = TILE_RUNS(64, 64);

uvec4 gatedOct(uvec4 oct, vec4 low, vec4 high, vec4 lastLow, vec4 lastHigh) {
    return uvec4(tilePack(unpack4(oct.xy) * decayFactor(low, lastLow)), tilePack(unpack4(oct.zw) * decayFactor(high, lastHigh)));
}

#define FETCH_ROWS(s) { \
    uint p0 = (s) * SLICE; \
    TILE_FETCH(nextA, 0, 64, SLICE, rowsA, 0, p0, P, H * P, rows) \
    if (MODE == 0) TILE_FETCH(nextB, 0, 64, SLICE, rowsB, 0, p0, P, H * P, rows) \
    if (GATES_ROWS) TILE_EACH_RUN(64, SLICE, j, r, c, \
        nextGates[2 * j] = nextQuadF(gatesA, r, p0 + c, P, H * P, count); \
        nextGates[2 * j + 1] = nextQuadF(gatesA, r, p0 + c + 4, P, H * P, count);) \
    if (GATES_ROWS && reverse) { \
        lastGates[0] = nextQuadF(gatesA, count - 1, p0 + gl_LocalInvocationIndex % (SLICE / 8) * 8, P, H * P, count); \
        lastGates[1] = nextQuadF(gatesA, count - 1, p0 + gl_LocalInvocationIndex % (SLICE / 8) * 8 + 4, P, H * P, count); \
    } }
#define LAND_ROWS(s) \
    if (GATES_ROWS) TILE_LAND_RUNS(ROWS, 64, SLICE, r, c, gatedOct(landedOct(nextA[tileJ], r, (s) * SLICE + c, P, rows), \
        nextGates[2 * tileJ], nextGates[2 * tileJ + 1], lastGates[0], lastGates[1])) \
    else TILE_LAND(ROWS, 64, SLICE, nextA, 0, 0, (s) * SLICE, P, rows)
#define FETCH_STATE(p0) { \
    if (stateT) TILE_FETCH(nextS, 0, 64 * TILES, HALF, states, q0, p0, P, P, rowsQ) \
    else TILE_FETCH(nextS, 0, HALF, 64 * TILES, states, p0, q0, Q, Q, rowsP) }
#define LAND_STATE(p0) { \
    if (stateT) TILE_LAND(STATE, 64 * TILES, HALF, nextS, 0, q0, p0, P, rowsQ) \
    else TILE_LAND(STATE, HALF, 64 * TILES, nextS, 0, p0, q0, Q, rowsP) }
#define FETCH_VALUES(from) TILE_FETCH(nextC, 0, 64, 64 * TILES, from, 0, q0, Q, H * Q, rows)
#define FETCH_GIVEN(from) TILE_EACH_RUN(64, 64, j, r, c, nextScores[j] = U32x4Buf(uint64_t(from) + uint64_t(givenAt(r, c, count)) * 2ul).v;)
#define LAND_GIVEN { \
    TILE_LAND_RUNS(SCORES, 64, 64, r, c, (EVEN || r < count && c < args.C ? nextScores[tileJ] : uvec4(0))) \
    barrier(); \
    rowsLoad(A, GIVEN_A, 64) \
    barrier(); }

void chunkOut(uint first, uint count, uint64_t state, uint64_t dot0) {
    uint64_t token = uint64_t(first) * H + head;
    const uint rows = EVEN ? EVERY_ROW : count, rowsP = FULL ? EVERY_ROW : P, rowsQ = FULL ? EVERY_ROW : Q;
    TBuf rowsA = atT(args.a, token * P), rowsB = atT(MODE == 0 ? args.b : args.a, token * P), states = atT(args.states, state);
    F32Buf gatesA = atF(args.gate, token * P);
    TBuf rowsC[2] = TBuf[2](atT(args.c, token * Q), atT(args.b, token * Q));
    TBuf given[2] = TBuf[2](atT(args.A, token * args.C), atT(TBuf(uint64_t(args.gamma)), token * args.C));
    TILE_AHEAD(nextA, 1, 64, SLICE)
    TILE_AHEAD(nextB, 1, 64, SLICE)
    uvec4 nextS[RUNS_S], nextC[RUNS_C];
    uvec4 nextScores[RUNS_A];
    vec4 nextGates[2 * RUNS], lastGates[2];
    Rows a[PARTS], A;
    Acc acc[TILES], scores;
    [[unroll]] for (uint t = 0; t < TILES; t++) accZero(acc[t]);
    accZero(scores);

    const bool reads = hasState || MODE == 0;
    if (reads) FETCH_ROWS(0)
    else FETCH_VALUES(rowsC[0])
    if (MODE == 1) {
        FETCH_GIVEN(given[0])
        LAND_GIVEN
    }
    if (MODE == 0) {
        if (gl_LocalInvocationIndex < FRAG_M) tileVector[TILE_NUMBERS + gl_LocalInvocationIndex] = float(gl_LocalInvocationIndex);
        stageDecays(token, count);
    }
    STRAIGHT for (uint s = 0; s < tileTrip(SLICES) && reads; s++) {
        LAND_ROWS(s)
        barrier();
        [[unroll]] for (uint part = 0; part < PARTS; part++) rowsLoad(a[part], sixtyFour(ROWS, part), HALF)
        barrier();
        if (MODE == 0) {
            TILE_LAND(PIECE, 64, SLICE, nextB, 0, 0, s * SLICE, P, rows)
            barrier();
        }
        if (hasState) FETCH_STATE(s * SLICE)
        else if (s + 1 < SLICES) FETCH_ROWS(s + 1)
        else FETCH_VALUES(rowsC[0])
        if (MODE == 0) {
            [[unroll]] for (uint part = 0; part < PARTS; part++) mmaRows(scores, a[part], sixtyFour(ROWS, part), T(sixtyFour(PIECE, part)), HALF)
            barrier();
            if (s + 1 == SLICES) {
                ACC_COMPONENTS(scores, 64, (UNIT ? 128 : 64), x, g, gj, beyond, (reverse ? beyond >= 0 : beyond <= 0) ? args.intra * x * exp(decayBetween(g, gj, reverse, UNIT)) : 0.0)
                accAsRows(A, scores, SCORES)
            }
        }
        if (hasState) [[unroll]] for (uint part = 0; part < PARTS; part++) {
            LAND_STATE(s * SLICE + part * 64)
            barrier();
            if (part + 1 < PARTS) FETCH_STATE(s * SLICE + part * 64 + 64)
            else if (s + 1 < SLICES) FETCH_ROWS(s + 1)
            else FETCH_VALUES(rowsC[0])
            [[unroll]] for (uint t = 0; t < TILES; t++) mmaRows(acc[t], a[part], sixtyFour(ROWS, part), sixtyFour(STATE, t), HALF)
            barrier();
        }
    }

    TBuf rowsE = atT(args.e, token * Q);
    uvec4 nextE[TILES * RUNS_A];
    if (DOTS) [[unroll]] for (uint t = 0; t < TILES; t++) TILE_EACH_RUN(64, 64, j, r, c, nextE[t * RUNS_A + j] = nextOct(rowsE, r, q0 + 64 * t + c, Q, H * Q, rows);)
    if (MODE == 0) {
        [[unroll]] for (uint t = 0; t < TILES; t++) accScaleRows(acc[t], 0)
    } else {
        [[unroll]] for (uint t = 0; t < TILES; t++) accScale(acc[t], args.inter)
    }
    STRAIGHT for (uint product = 0; product < GIVEN; product++) {
        if (product > 0) {
            FETCH_GIVEN(given[product])
            FETCH_VALUES(rowsC[product])
            LAND_GIVEN
        }
        TILE_LAND(VALUES, 64, 64 * TILES, nextC, 0, 0, q0, Q, rows)
        barrier();
        [[unroll]] for (uint t = 0; t < TILES; t++) mmaRows(acc[t], A, GIVEN_A, sixtyFour(VALUES, t), 64)
        barrier();
    }

    // Through shared memory: whole rows at a time.
    TBuf o = atT(args.o, token * Q);
    [[unroll]] for (uint t = 0; t < TILES; t++) accLay(acc[t], sixtyFour(VALUES, t))
    barrier();
    TILE_EACH_RUN(64, 64 * TILES, j, r, c,
        uvec4 oct = tilePool[(VALUES.at + r * VALUES.stride + c / 4) / 2];
        storeOct(o, r * H * Q + q0 + c, r < count ? int(Q) - int(q0 + c) : 0, oct.xy, oct.zw);)
    if (!DOTS) return;
    barrier();
    float shares[RUNS_A];
    [[unroll]] for (uint t = 0; t < TILES; t++) {
        accSpread(acc[t], 0)
        barrier();
        TILE_EACH_RUN(64, 64, j, r, c,
            uvec4 e = landedOct(nextE[t * RUNS_A + j], r, q0 + 64 * t + c, Q, rows);
            float share = dot(unpack4(e.xy), tileFloats(0, r, c)) + dot(unpack4(e.zw), tileFloats(0, r, c + 4));
            shares[j] = t == 0 ? share : shares[j] + share;)
        barrier();
    }
    // Eight lanes have a row.
    TILE_EACH_RUN(64, 64, j, r, c,
        float sum = shares[j];
        [[unroll]] for (uint apart = 1; apart < 8; apart *= 2) sum += subgroupShuffleXor(sum, apart);
        if (c == 0 && r < count) atF(args.dots, dot0).v[r * H] = sum;)
}
