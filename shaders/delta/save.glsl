// A tile back to memory: element (r, c..) goes to p[i..], guarded by left as storeTail4T; TILE_ADD adds it to what is there.
#ifdef MM_coopmat
#define TILE_TO(tile, rows, cols, r, c, statements) \
    TILE_EACH_RUN(rows, cols, tileJ, r, c, \
        if ((rows) * ((cols) / 8) % gl_WorkGroupSize.x == 0 || r < (rows)) { uvec4 tileO = tilePool[(tile.at + r * tile.stride + c / 4) >> 1]; statements })
#define TILE_SAVE(tile, rows, cols, p, r, c, i, left) TILE_TO(tile, rows, cols, r, c, storeOct(p, i, left, tileO.xy, tileO.zw);)
#define TILE_ADD(tile, rows, cols, p, r, c, i, left) TILE_TO(tile, rows, cols, r, c, \
    uvec4 tileP = loadOct(p, i, left); \
    storeOct(p, i, left, tilePack(unpack4(tileO.xy) + unpack4(tileP.xy)), tilePack(unpack4(tileO.zw) + unpack4(tileP.zw)));)
#else
#define TILE_TO(tile, rows, cols, r, c, statements) { \
    TILE_DEAL(tileI, (rows) * ((cols) / 4)) { \
        uint r = tileI / ((cols) / 4), c = tileI % ((cols) / 4) * 4; \
        statements \
    } }
#define TILE_SAVE(tile, rows, cols, p, r, c, i, left) TILE_TO(tile, rows, cols, r, c, storeTail4T(p, i, left, tileGet(tile, r, c));)
#define TILE_ADD(tile, rows, cols, p, r, c, i, left) TILE_TO(tile, rows, cols, r, c, storeTail4T(p, i, left, tileGet(tile, r, c) + loadTail4T(p, i, left));)
#endif
