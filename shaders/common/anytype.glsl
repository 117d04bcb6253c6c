// Elements whose type is a number known at run time: 0 f32, 1 f16, 2 bf16, 3 i32, 4 i64 (Fla.Vulkan.Ops.ElementTypes).
// For weights, optional operands and indices: whatever their type, one pipeline serves.
#define AnyBuf U32Buf

AnyBuf atAny(AnyBuf p, uint type, uint64_t n) {
    return AnyBuf(uint64_t(p) + n * (type == 0 || type == 3 ? 4ul : type == 4 ? 8ul : 2ul));
}

float loadAny(AnyBuf p, uint type, uint i) {
    uint64_t a = uint64_t(p);
    if (type == 0) return F32Buf(a).v[i];
    uint bits = uint(U16Buf(a).v[i]);
    return type == 1 ? f16Value(bits) : bf16Value(bits);
}

void storeAny(AnyBuf p, uint type, uint i, float x) {
    uint64_t a = uint64_t(p);
    if (type == 0) F32Buf(a).v[i] = x;
    else U16Buf(a).v[i] = uint16_t(type == 1 ? f16Bits(x) : bf16Bits(x));
}

// Four elements from element i on; i is a multiple of 4 and the address of 4 elements.
vec4 load4Any(AnyBuf p, uint type, uint i) {
    uint64_t a = uint64_t(p);
    if (type == 0) return load4F(F32Buf(a), i);
    uvec2 u = U16x4Buf(a + uint64_t(i) * 2ul).v;
    uvec4 bits = uvec4(u.x & 0xffffu, u.x >> 16, u.y & 0xffffu, u.y >> 16);
    if (type == 1) return vec4(f16Value(bits.x), f16Value(bits.y), f16Value(bits.z), f16Value(bits.w));
    return uintBitsToFloat(bits << 16);
}

void store4Any(AnyBuf p, uint type, uint i, vec4 x) {
    uint64_t a = uint64_t(p);
    if (type == 0) { store4F(F32Buf(a), i, x); return; }
    uvec4 bits = type == 1 ? uvec4(f16Bits(x.x), f16Bits(x.y), f16Bits(x.z), f16Bits(x.w))
                           : uvec4(bf16Bits(x.x), bf16Bits(x.y), bf16Bits(x.z), bf16Bits(x.w));
    U16x4Buf(a + uint64_t(i) * 2ul).v = uvec2(bits.x | (bits.y << 16), bits.z | (bits.w << 16));
}

// An index; an i64 beyond the range of i32 becomes -1, which no table has.
int loadIndex(AnyBuf p, uint type, uint i) {
    uint64_t a = uint64_t(p);
    if (type == 3) return I32Buf(a).v[i];
    int64_t x = I64Buf(a).v[i];
    return x < -2147483648l || x > 2147483647l ? -1 : int(x);
}

// Up to four elements of a row of `width` elements: zeros past its end. `wide` when whole groups of four may be loaded at once.
vec4 rowAny(AnyBuf p, uint type, uint i, uint width, bool wide) {
    if (wide) return load4Any(p, type, i);
    vec4 x = vec4(0);
    for (uint k = 0; k < 4 && i + k < width; ++k) x[k] = loadAny(p, type, i + k);
    return x;
}

void storeRowAny(AnyBuf p, uint type, uint i, uint width, bool wide, vec4 x) {
    if (wide) { store4Any(p, type, i, x); return; }
    for (uint k = 0; k < 4 && i + k < width; ++k) storeAny(p, type, i + k, x[k]);
}

#ifdef TBuf
vec4 rowT(TBuf p, uint i, uint width, bool wide) {
    if (wide) return load4T(p, i);
    vec4 x = vec4(0);
    for (uint k = 0; k < 4 && i + k < width; ++k) x[k] = loadT(p, i + k);
    return x;
}

void storeRowT(TBuf p, uint i, uint width, bool wide, vec4 x) {
    if (wide) { store4T(p, i, x); return; }
    for (uint k = 0; k < 4 && i + k < width; ++k) storeT(p, i + k, x[k]);
}
#endif

// p.v[i], or `otherwise` where p is null. Drivers (lavapipe 26) may run the load of a small branch whatever its condition when the address is the same for
// all invocations, so the load goes to an address that is `valid` and the value is chosen afterwards.
float scalarOr(F32Buf p, uint i, float otherwise, uint64_t valid) {
    bool isThere = !isNull(p);
    float x = F32Buf(isThere ? uint64_t(p) : valid).v[isThere ? i : 0];
    return isThere ? x : otherwise;
}
