// Elements whose type is a number known at run time: 0 f32, 1 f16, 2 bf16, 3 i32, 4 i64 (Fla.Vulkan.Ops.ElementTypes).
// For weights, optional operands and indices: whatever their type, one pipeline serves.
#define AnyBuf U32Buf

AnyBuf atAny(AnyBuf p, uint type, uint64_t n) {
    return AnyBuf(uint64_t(p) + n * (type == 0 || type == 3 ? 4ul : type == 4 ? 8ul : 2ul));
}

// (One return at the end of each: early ones become loops of one turn, which confuse drivers' compilers.)
float loadAny(AnyBuf p, uint type, uint i) {
    uint64_t a = uint64_t(p);
    float x;
    if (type == 0) x = F32Buf(a).v[i];
    else {
        uint bits = uint(U16Buf(a).v[i]);
        x = type == 1 ? f16Value(bits) : bf16Value(bits);
    }
    return x;
}

void storeAny(AnyBuf p, uint type, uint i, float x) {
    uint64_t a = uint64_t(p);
    if (type == 0) F32Buf(a).v[i] = x;
    else U16Buf(a).v[i] = uint16_t(type == 1 ? f16Bits(x) : bf16Bits(x));
}

// Four elements from element i on; i is a multiple of 4 and the address of 4 elements.
vec4 load4Any(AnyBuf p, uint type, uint i) {
    uint64_t a = uint64_t(p);
    vec4 x;
    if (type == 0) x = load4F(F32Buf(a), i);
    else {
        uvec2 u = U16x4Buf(a + uint64_t(i) * 2ul).v;
        uvec4 bits = uvec4(u.x & 0xffffu, u.x >> 16, u.y & 0xffffu, u.y >> 16);
        x = type == 1 ? vec4(f16Value(bits.x), f16Value(bits.y), f16Value(bits.z), f16Value(bits.w)) : uintBitsToFloat(bits << 16);
    }
    return x;
}

// Four elements of a 16-bit type.
uvec2 pack4Any(uint type, vec4 x) {
    uvec2 u;
    if (type == 1) u = uvec2(f16Bits(x.x) | (f16Bits(x.y) << 16), f16Bits(x.z) | (f16Bits(x.w) << 16));
    else u = uvec2(bf16Pair(x.x, x.y), bf16Pair(x.z, x.w));
    return u;
}

void store4Any(AnyBuf p, uint type, uint i, vec4 x) {
    uint64_t a = uint64_t(p);
    if (type == 0) store4F(F32Buf(a), i, x);
    else U16x4Buf(a + uint64_t(i) * 2ul).v = pack4Any(type, x);
}

// An index; an i64 beyond the range of i32 becomes -1, which no table has.
int loadIndex(AnyBuf p, uint type, uint i) {
    uint64_t a = uint64_t(p);
    int index;
    if (type == 3) index = I32Buf(a).v[i];
    else {
        int64_t x = I64Buf(a).v[i];
        index = x < -2147483648l || x > 2147483647l ? -1 : int(x);
    }
    return index;
}

// Up to four elements of a row of `width` elements: zeros past its end. `wide` when whole groups of four may be loaded at once.
vec4 rowAny(AnyBuf p, uint type, uint i, uint width, bool wide) {
    vec4 x = vec4(0);
    if (wide) x = load4Any(p, type, i);
    else [[unroll]] for (uint k = 0; k < 4; ++k) if (i + k < width) x[k] = loadAny(p, type, i + k);
    return x;
}

void storeRowAny(AnyBuf p, uint type, uint i, uint width, bool wide, vec4 x) {
    if (wide) store4Any(p, type, i, x);
    else [[unroll]] for (uint k = 0; k < 4; ++k) if (i + k < width) storeAny(p, type, i + k, x[k]);
}

#ifdef TBuf
vec4 rowT(TBuf p, uint i, uint width, bool wide) {
    vec4 x = vec4(0);
    if (wide) x = load4T(p, i);
    else [[unroll]] for (uint k = 0; k < 4; ++k) if (i + k < width) x[k] = loadT(p, i + k);
    return x;
}

void storeRowT(TBuf p, uint i, uint width, bool wide, vec4 x) {
    if (wide) store4T(p, i, x);
    else [[unroll]] for (uint k = 0; k < 4; ++k) if (i + k < width) storeT(p, i + k, x[k]);
}
#endif

// p.v[i], or `otherwise` where p is null. Drivers (lavapipe 26) may run the load of a small branch whatever its condition when the address is the same for
// all invocations, so the load goes to an address that is `valid` and the value is chosen afterwards.
float scalarOr(F32Buf p, uint i, float otherwise, uint64_t valid) {
    bool isThere = !isNull(p);
    float x = F32Buf(isThere ? uint64_t(p) : valid).v[isThere ? i : 0];
    return isThere ? x : otherwise;
}
