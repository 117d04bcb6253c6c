// A tile back to memory: element (r, c..) goes to p[i..], guarded by left as storeTail4T.
#ifdef MM_coopmat
#define TILE_SAVE(tile, rows, cols, p, r, c, i, left) { \
    TILE_DEAL(tileI, (rows) * ((cols) / 8)) { \
        uint r = tileI / ((cols) / 8), c = tileI % ((cols) / 8) * 8; \
        uvec4 tileO = tilePool[(tile.at + r * tile.stride + c / 4) >> 1]; \
        storeOct(p, i, left, tileO.xy, tileO.zw); \
    } }
#else
#define TILE_SAVE(tile, rows, cols, p, r, c, i, left) { \
    TILE_DEAL(tileI, (rows) * ((cols) / 4)) { \
        uint r = tileI / ((cols) / 4), c = tileI % ((cols) / 4) * 4; \
        storeTail4T(p, i, left, tileGet(tile, r, c)); \
    } }
#endif
