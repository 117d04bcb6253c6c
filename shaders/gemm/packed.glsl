// Operands as fragments (pack.comp). Their places are counted in pieces of 16 bytes, one a lane and fragment: eight components.
uint packedDepth(uint k) { return (k + 47) / 48 * 48; }        // three steps of 16, or six of 8
uint packedBlock(uint k) { return packedDepth(k) * 64 / 8; }    // pieces of a block of 64 rows
#define atPacked(p, i) U32x4Buf(uint64_t(p) + uint64_t(i) * 16ul)
#define STEP_A (64 / FRAG_M * SUBGROUP)                         // pieces of a step
#define STEP_B (64 / FRAG_N * SUBGROUP)

// A matrix of fp32 sums as fragments of accumulators, two pieces a lane and fragment: blocks of 64 × 64, those of 64 rows one after the other, in a block
// fragments from above to below, then from left to right.
#define SUMS_BLOCK (64 / FRAG_M * (64 / FRAG_N) * 2 * SUBGROUP)
uint sumsBlock(uint i, uint j, uint n) { return (i * ((n + 63) / 64) + j) * SUMS_BLOCK; }
uint sumsFragment(uint i, uint j) { return (j * (64 / FRAG_M) + i) * 2 * SUBGROUP; }
// Accumulators of a subgroup from its part of a block, which begins at p.
#define LOAD_SUMS(acc, p) { \
    ACC_FRAGMENTS(tileF) { \
        uint tileAt = sumsFragment(tileF / PER_N, tileF % PER_N); \
        vec4 tileLow = uintBitsToFloat(atPacked(p, tileAt).v), tileHigh = uintBitsToFloat(atPacked(p, tileAt + SUBGROUP).v); \
        [[unroll]] for (uint tileE = 0; tileE < 4; tileE++) { acc.f[tileF][tileE] = tileLow[tileE]; acc.f[tileF][tileE + 4] = tileHigh[tileE]; } \
    } }

// Two components of 16 bits in a word. (The fp16 forms need no 16-bit integers, which a device may lack.)
#ifdef T_bf16
#define WORD_OF(f, e) pack32(bfloat16BitsToUintEXT(bf16vec2(f[e], f[(e) + 1])))
#define HALF_OF(word, e) uintBitsToBFloat16EXT(uint16_t((word) >> (e) * 16))
#else
#define WORD_OF(f, e) packFloat2x16(f16vec2(f[e], f[(e) + 1]))
#define HALF_OF(word, e) unpackFloat2x16(word)[e]
#endif
#define wordsOf(f) uvec4(WORD_OF(f, 0), WORD_OF(f, 2), WORD_OF(f, 4), WORD_OF(f, 6))
// The words of a fragment of A lie as the tensor cores of NVIDIA take them, so that no register has to be moved.
#define SET_A(f, words) [[unroll]] for (uint tileE = 0; tileE < 8; tileE++) f[tileE] = HALF_OF(words[(tileE >> 1 & 1) << 1 | tileE >> 2], tileE & 1);
#define SET_B(f, words) [[unroll]] for (uint tileE = 0; tileE < 8; tileE++) f[tileE] = HALF_OF(words[tileE >> 1], tileE & 1);

// Words of a fragment of A from eight components in fp32, and its components 0 to 3 and 4 to 7.
#define WORDS_OF_A(x) uvec4(tilePack(vec4(x[0], x[1], x[2], x[3])), tilePack(vec4(x[4], x[5], x[6], x[7]))).xzyw
#define LOW_OF_A(words) unpack4((words).xz)
#define HIGH_OF_A(words) unpack4((words).yw)
