// Operands as fragments (pack.comp). Their places are counted in pieces of 16 bytes, one a lane and fragment: eight components.
uint packedDepth(uint k) { return (k + 47) / 48 * 48; }        // three steps of 16, or six of 8
uint packedBlock(uint k) { return packedDepth(k) * 64 / 8; }    // pieces of a block of 64 rows
#define atPacked(p, i) U32x4Buf(uint64_t(p) + uint64_t(i) * 16ul)

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
