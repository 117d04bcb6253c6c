// Storage types behind buffer addresses, all arithmetic in fp32.
//
// A shader with the axis "// @variants T=f32|f16|bf16" has one storage type T. It sees
//   TBuf                        pointer to T elements
//   loadT(p, i), storeT(p, i, x)      one element as float
//   rawT(p, i), valueT(raw), raw4T, value4T     loadT and load4T in two: the load, and what looks at its result
//   load4T(p, i), store4T(p, i, v)    four elements; element i must lie at a multiple of 4 elements
//   atT(p, n)                   the pointer n elements on (64-bit offset)
//   F32Buf, I32Buf, U32Buf, I64Buf    pointers of fixed type: p.v[i]; load4F, store4F, atF, atI as above; isNull(p) for all
// (Pointer types do not overload in GLSL, hence the letters.)
// bf16 and f16 travel as 16-bit patterns, so no shader needs a driver's 16-bit arithmetic; rounding is to nearest even.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_int16 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_EXT_control_flow_attributes : enable

layout(buffer_reference, scalar, buffer_reference_align = 4) buffer F32Buf { float v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer I32Buf { int v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer U32Buf { uint v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 8) buffer I64Buf { int64_t v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 2) buffer U16Buf { uint16_t v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer F32x4Buf { vec4 v; };
layout(buffer_reference, scalar, buffer_reference_align = 8) buffer U16x4Buf { uvec2 v; };
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer U32x4Buf { uvec4 v; };

#define isNull(p) (uint64_t(p) == 0ul)

F32Buf atF(F32Buf p, uint64_t n) { return F32Buf(uint64_t(p) + n * 4ul); }
I32Buf atI(I32Buf p, uint64_t n) { return I32Buf(uint64_t(p) + n * 4ul); }
vec4 load4F(F32Buf p, uint i) { return F32x4Buf(uint64_t(p) + uint64_t(i) * 4ul).v; }
void store4F(F32Buf p, uint i, vec4 x) { F32x4Buf(uint64_t(p) + uint64_t(i) * 4ul).v = x; }

// The upper half of this is x in bf16. (Drivers convert to bfloat16_t as they like: NVIDIA's cuts the lower half off.)
uint bf16Upper(float x) {
    uint b = floatBitsToUint(x);
    return isnan(x) ? 0x7fffffffu : b + 0x7fffu + ((b >> 16) & 1u);
}

uint bf16Bits(float x) { return bf16Upper(x) >> 16; }

// The same in two instructions for sums on their way out of matrices: halves, which such sums hardly ever are, away from zero. (NaN stays NaN: the largest
// patterns would turn over, and the signed maximum keeps them.)
uint bf16Near(float x) {
    int b = floatBitsToInt(x);
    return uint(max(b + 0x8000, b));
}

// Two of them, the first in the lower half.
uint bf16Pair(float x, float y) { return bitfieldInsert(bf16Upper(y), bf16Upper(x) >> 16, 0, 16); }

float bf16Value(uint bits) { return uintBitsToFloat(bits << 16); }

// Round to nearest even from the fp32 bits: packHalf2x16 leaves the rounding to the driver. (One return: early ones become loops of one turn, which confuse drivers' compilers.)
uint f16Bits(float x) {
    uint b = floatBitsToUint(x);
    uint a = b & 0x7fffffffu;
    uint normal = (a + 0xfffu + ((a >> 13) & 1u) - 0x38000000u) >> 13;
    uint subnormal = floatBitsToUint(uintBitsToFloat(a) + 0.5) - floatBitsToUint(0.5);      // the magic number aligns the last place
    uint large = a > 0x7f800000u ? 0x7e00u : 0x7c00u;
    return ((b >> 16) & 0x8000u) | (a >= 0x477ff000u ? large : a < 0x38800000u ? subnormal : normal);
}

float f16Value(uint bits) { return unpackHalf2x16(bits).x; }

#if defined(T_f16) || defined(T_bf16)
#ifdef T_f16
#define TO_BITS f16Bits
#define TO_PAIR(x, y) (f16Bits(x) | (f16Bits(y) << 16))
#define FROM_BITS f16Value
#else
#define TO_BITS bf16Bits
#define TO_PAIR bf16Pair
#define FROM_BITS bf16Value
#endif
#define TBuf U16Buf
#define T_SIZE 2
float loadT(TBuf p, uint i) { return FROM_BITS(uint(p.v[i])); }
void storeT(TBuf p, uint i, float x) { p.v[i] = uint16_t(TO_BITS(x)); }
uint rawT(TBuf p, uint i) { return uint(p.v[i]); }
float valueT(uint raw) { return FROM_BITS(raw); }
#ifdef T_f16
vec4 unpack4(uvec2 u) { return vec4(unpackHalf2x16(u.x), unpackHalf2x16(u.y)); }
#else
vec4 unpack4(uvec2 u) { return uintBitsToFloat(uvec4(u.x << 16, u.x & 0xffff0000u, u.y << 16, u.y & 0xffff0000u)); }
#endif
uvec2 pack4(vec4 x) { return uvec2(TO_PAIR(x.x, x.y), TO_PAIR(x.z, x.w)); }
#define Raw4T uvec2
Raw4T raw4T(TBuf p, uint i) { return U16x4Buf(uint64_t(p) + uint64_t(i) * 2ul).v; }
vec4 value4T(Raw4T raw) { return unpack4(raw); }
vec4 load4T(TBuf p, uint i) { return unpack4(raw4T(p, i)); }
void store4T(TBuf p, uint i, vec4 x) { U16x4Buf(uint64_t(p) + uint64_t(i) * 2ul).v = pack4(x); }
TBuf atT(TBuf p, uint64_t n) { return TBuf(uint64_t(p) + n * 2ul); }
float roundT(float x) { return FROM_BITS(TO_BITS(x)); }
#elif defined(T_f32)
#define TBuf F32Buf
#define T_SIZE 4
float loadT(TBuf p, uint i) { return p.v[i]; }
void storeT(TBuf p, uint i, float x) { p.v[i] = x; }
uint rawT(TBuf p, uint i) { return floatBitsToUint(p.v[i]); }
float valueT(uint raw) { return uintBitsToFloat(raw); }
#define Raw4T vec4
Raw4T raw4T(TBuf p, uint i) { return load4F(p, i); }
vec4 value4T(Raw4T raw) { return raw; }
vec4 load4T(TBuf p, uint i) { return load4F(p, i); }
void store4T(TBuf p, uint i, vec4 x) { store4F(p, i, x); }
TBuf atT(TBuf p, uint64_t n) { return atF(p, n); }
float roundT(float x) { return x; }
#endif
