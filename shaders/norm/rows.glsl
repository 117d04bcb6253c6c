// What the norm kernels share. A row of `width` elements has LANES invocations, each CHUNKS groups of eight of it in flight at once; where a row is longer than
// that, they go over it in turns and read it again. Invocations with short rows take ROWS of them at once.
layout(constant_id = 1) const uint FLAGS = 0;
layout(constant_id = 2) const uint TYPES = 0;
layout(constant_id = 3) const uint LANES = 32;
layout(constant_id = 4) const uint CHUNKS = 4;
layout(constant_id = 5) const uint ROWS = 1;

const uint SUBTRACT_MEAN = 1, GATE_AFTER = 2, GATE_BEFORE = 4, GATE_SIGMOID = 8, WIDE = 16, HAS_RESIDUAL = 32, HAS_WEIGHT = 64, HAS_BIAS = 128, HAS_SUM = 256,
    HAS_STATS = 512, GROUPED = 1024, HAS_DGATE = 2048, HAS_DWEIGHT = 4096, HAS_DBIAS = 8192, LONG = 16384,
    FULL = 32768;      // rows are WIDE and just what their invocations hold

const uint RESIDUAL = 0, WEIGHT = 4, BIAS = 8, OUTPUT = 12, SUM = 16, SUM_GRADIENT = 20, GRADIENT = 24, INPUT = 28;    // bit positions of element types in TYPES

const uint PIECES = CHUNKS * ROWS;
const uint TURN = LANES * CHUNKS * 8;                      // elements of a row in flight; LONG rows have more

// Where the turns over a row end: after the first one, which is then straight code, unless it is long.
#define ROW_END (has(LONG) ? args.width : 1)

bool has(uint flag) { return (FLAGS & flag) != 0; }
uint typeOf(uint position) { return (TYPES >> position) & 15u; }

uint64_t placeOf(AnyBuf rows, uint position, uint64_t at) { return uint64_t(rows) + at * (typeOf(position) == 0 ? 4ul : 2ul); }

Oct load(AnyBuf rows, uint position, uint64_t start, uint i) {
    Oct x;
    if (has(FULL)) x = octAt(placeOf(rows, position, start + i), typeOf(position));
    else x = loadOct(atAny(rows, typeOf(position), start), typeOf(position), i, args.width, has(WIDE));
    return x;
}

vec4 quad(Oct x, uint position, uint half_) { return quadOf(x, typeOf(position), half_); }

void store(AnyBuf rows, uint position, uint64_t start, uint i, vec4 x[2]) {
    if (has(FULL)) storeOctAt(placeOf(rows, position, start + i), typeOf(position), x[0], x[1]);
    else storeOct(atAny(rows, typeOf(position), start), typeOf(position), i, args.width, has(WIDE), x[0], x[1]);
}

// 1 for those of four elements that lie in the row.
vec4 inside(uint i) {
    vec4 x = vec4(1);
    if (!has(FULL)) x = insideRow(i, args.width);
    return x;
}

// The first element of piece p of a lane in the turn that begins at `first`.
uint columnOf(uint p, uint lane, uint first) { return first + (p % CHUNKS * LANES + lane) * 8; }

vec4 sigmoid(vec4 g) { return 1.0 / (1.0 + exp(-g)); }

// What the gate g makes of its sigmoid s: σ(g), or σ(g) g; and the derivative.
vec4 act(vec4 g, vec4 s) { return has(GATE_SIGMOID) ? s : s * g; }
vec4 actSlope(vec4 g, vec4 s) { return has(GATE_SIGMOID) ? s * (1.0 - s) : s * (1.0 + g * (1.0 - s)); }
vec4 gateOf(vec4 g) { return act(g, sigmoid(g)); }
