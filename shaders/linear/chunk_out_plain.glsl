// chunk_out.comp in plain arithmetic: `first` and `count` are the chunk's tokens, `state` and `dot` where its state and the dots of its first token lie.
// Accumulators: tiles of the output, and with MODE 0 the scores.
const uint PRODUCTS = TILES + (MODE == 0 ? 1 : 0);
Tile stateTile(uint t) { return Tile((2 + t) * OPERAND, stateT ? tileStride(SLICE) : tileStride(64), stateT); }
Tile valueTile(uint t) { return Tile(tileQuads(64, 64) + t * tileQuads(SLICE, 64), tileStride(64), false); }

vec4 vectorFactor(F32Buf gates, uint r, uint c, uint width, uint count) {
    return decayFactor(rowQuadF(gates, r, c, width, H * width, count), rowQuadF(gates, count - 1, c, width, H * width, count));
}

void chunkOut(uint first, uint count, uint64_t state, uint64_t dot0) {
    uint lane = gl_LocalInvocationIndex;
    uint64_t token = uint64_t(first) * H + head;
    TBuf rowsA = atT(args.a, token * P), rowsB = atT(MODE == 0 ? args.b : args.a, token * P), states = atT(args.states, state);
    F32Buf gatesA = atF(args.gate, token * P);

    Tile a = Tile(0, tileStride(SLICE), false), b = Tile(OPERAND, tileStride(SLICE), false);
    Acc acc[PRODUCTS];
    [[unroll]] for (uint t = 0; t < PRODUCTS; t++) accZero(acc[t]);
    TBuf rowsC[2] = TBuf[2](atT(args.c, token * Q), atT(args.b, token * Q));
    TBuf given[2] = TBuf[2](atT(args.A, token * args.C), atT(TBuf(uint64_t(args.gamma)), token * args.C));
    if (MODE == 0) stageDecays(token, count);

    [[dont_unroll]] for (uint s = 0; s < sliceTrip(SLICES) && (hasState || MODE == 0); s++) {
        uint p0 = s * SLICE;
        if (GATES_ROWS) {
            TILE_STAGE(a, 64, SLICE, r, c, (widen(rowQuad(rowsA, r, p0 + c, P, H * P, count)) * vectorFactor(gatesA, r, p0 + c, P, count)))
        } else {
            TILE_ROWS(a, 64, SLICE, rowsA, 0, p0, P, H * P, count)
        }
        if (MODE == 0) TILE_ROWS(b, 64, SLICE, rowsB, 0, p0, P, H * P, count)
        if (hasState) [[unroll]] for (uint t = 0; t < TILES; t++) {
            if (stateT) TILE_ROWS(stateTile(t), 64, SLICE, states, q0 + 64 * t, p0, P, P, Q)
            else TILE_ROWS(stateTile(t), SLICE, 64, states, p0, q0 + 64 * t, Q, Q, P)
        }
        barrier();
        if (hasState) {
            mmaEach(acc, PRODUCTS, a, t, t < TILES ? stateTile(t) : T(b), SLICE)
        } else {
            mma(acc[PRODUCTS - 1], a, T(b), SLICE);
        }
        barrier();
    }

    Tile A = Tile(0, tileStride(64), MODE == 1 && reverse);
    [[dont_unroll]] for (uint product = 0; product < GIVEN; product++) {
        if (MODE == 0) {
            [[unroll]] for (uint t = 0; t < TILES; t++) accScaleRows(acc[t], 0);
            ACC_PUT(acc[PRODUCTS - 1], A, r, c, x, maskedScores(r, c, x, reverse, args.intra, UNIT))
        } else {
            if (product == 0) {
                [[unroll]] for (uint t = 0; t < TILES; t++) accScale(acc[t], args.inter);
            }
            TILE_STAGE(A, 64, 64, r, c, (r < count && c < args.C ? load4T(given[product], givenAt(r, c, count)) : vec4(0)))
        }
        [[dont_unroll]] for (uint s0 = 0; s0 < 64; s0 += SLICE) {
            [[unroll]] for (uint t = 0; t < TILES; t++) TILE_ROWS(valueTile(t), SLICE, 64, rowsC[product], s0, q0 + 64 * t, Q, H * Q, count)
            barrier();
            Tile columns = Tile(A.at + (A.transposed ? s0 * A.stride : s0 / 4), A.stride, A.transposed);
            mmaEach(acc, TILES, columns, t, valueTile(t), SLICE)
            barrier();
        }
    }

    TBuf o = atT(args.o, token * Q);
    [[unroll]] for (uint t = 0; t < TILES; t++) {
        ACC_STORE(acc[t], o, r, c, r * H * Q + q0 + 64 * t + c, (r < count ? int(Q) - int(q0 + 64 * t + c) : 0), x, x)
    }
    if (!DOTS) return;
    TBuf rowsE = atT(args.e, token * Q);
    // What an invocation visits of one tile it visits of the others.
    [[unroll]] for (uint t = 0; t < TILES; t++) {
        ACC_EACH(acc[t], r, c, x, {
            uint i = r * 16 + c / 4;
            float share = dot(widen(rowQuad(rowsE, r, q0 + 64 * t + c, Q, H * Q, count)), x);
            share = r < count && q0 + 64 * t + c < Q ? share : 0.0;
            tilePutFloat(i, t == 0 ? share : share + tileGetFloat(i));
        })
    }
    barrier();
    if (lane >= count) return;
    float sum = 0;
    [[unroll]] for (uint i = 0; i < 16; i++) sum += tileGetFloat(lane * 16 + i);
    atF(args.dots, dot0).v[lane * H] = sum;
}
