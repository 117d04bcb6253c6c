// Eight elements of a row at once, of a type that is a number (anytype.glsl), known when the pipeline is made. An Oct is what the loads left behind: nothing
// looks at it before all loads of a stage have been issued, as compilers leave a load behind the first use of an earlier one.
struct Oct { uvec4 a, b; };     // b of f32 only

// Eight elements at an address that is a multiple of 16 bytes.
Oct octAt(uint64_t at, uint type) {
    Oct x;
    x.a = U32x4Buf(at).v;
    x.b = uvec4(0);
    if (type == 0) x.b = U32x4Buf(at + 16ul).v;
    return x;
}

// Elements i to i + 7 of a row of `width`; anything past its end. `wide`: the row is whole groups of eight, and begins at a multiple of 16 bytes.
Oct loadOct(AnyBuf p, uint type, uint i, uint width, bool wide) {
    Oct x;
    x.a = x.b = uvec4(0);
    uint64_t row = uint64_t(p);
    if (wide) x = octAt(row + uint64_t(min(i, width - 8)) * (type == 0 ? 4ul : 2ul), type);
    else {
        [[unroll]] for (uint e = 0; e < 8; e++) {
            uint k = min(i + e, width - 1);
            if (type == 0) {
                uint bits = U32Buf(row).v[k];
                if (e < 4) x.a[e] = bits;
                else x.b[e - 4] = bits;
            } else x.a[e / 2] |= uint(U16Buf(row).v[k]) << (e % 2 * 16);
        }
    }
    return x;
}

// Four elements at an address that is a multiple of their size, as half 0.
Oct quadAt(uint64_t at, uint type) {
    Oct x;
    x.a = x.b = uvec4(0);
    if (type == 0) x.a = U32x4Buf(at).v;
    else x.a.xy = U16x4Buf(at).v;
    return x;
}

// The same of elements i to i + 3 of a row; `wide`: whole groups of four, at a multiple of their size.
Oct loadQuad(AnyBuf p, uint type, uint i, uint width, bool wide) {
    Oct x;
    x.a = x.b = uvec4(0);
    uint64_t row = uint64_t(p);
    if (wide) x = quadAt(row + uint64_t(min(i, width - 4)) * (type == 0 ? 4ul : 2ul), type);
    else {
        [[unroll]] for (uint e = 0; e < 4; e++) {
            uint k = min(i + e, width - 1);
            if (type == 0) x.a[e] = U32Buf(row).v[k];
            else x.a[e / 2] |= uint(U16Buf(row).v[k]) << (e % 2 * 16);
        }
    }
    return x;
}

// Four of the eight: half 0 or 1.
vec4 quadOf(Oct x, uint type, uint half_) {
    uvec4 q = half_ == 0 ? x.a : x.b;
    uvec2 u = half_ == 0 ? x.a.xy : x.a.zw;
    vec4 y;
    if (type == 0) y = uintBitsToFloat(q);
    else if (type == 1) y = vec4(unpackHalf2x16(u.x), unpackHalf2x16(u.y));
    else y = uintBitsToFloat(uvec4(u.x << 16, u.x & 0xffff0000u, u.y << 16, u.y & 0xffff0000u));
    return y;
}

// Four elements as they are stored, and the store.
uvec4 packQuadAny(uint type, vec4 x) {
    uvec4 bits;
    if (type == 0) bits = floatBitsToUint(x);
    else bits = uvec4(pack4Any(type, x), 0, 0);
    return bits;
}

void storeQuadAt(uint64_t at, uint type, uvec4 bits) {
    if (type == 0) U32x4Buf(at).v = bits;
    else U16x4Buf(at).v = bits.xy;
}

void storeOctAt(uint64_t at, uint type, vec4 low, vec4 high) {
    if (type == 0) {
        U32x4Buf(at).v = floatBitsToUint(low);
        U32x4Buf(at + 16ul).v = floatBitsToUint(high);
    } else U32x4Buf(at).v = uvec4(pack4Any(type, low), pack4Any(type, high));
}

// Stores those of the eight elements that lie in the row.
void storeOct(AnyBuf p, uint type, uint i, uint width, bool wide, vec4 low, vec4 high) {
    uint64_t row = uint64_t(p);
    if (wide) {
        if (i < width) storeOctAt(row + uint64_t(i) * (type == 0 ? 4ul : 2ul), type, low, high);
    } else {
        [[unroll]] for (uint e = 0; e < 8; e++) if (i + e < width) storeAny(p, type, i + e, e < 4 ? low[e % 4] : high[e % 4]);
    }
}

// 1 for those of four elements at i that lie in a row of `width`.
vec4 insideRow(uint i, uint width) { return vec4(lessThan(uvec4(i, i + 1, i + 2, i + 3), uvec4(width))); }
