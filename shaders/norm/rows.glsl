// What the norm kernels share: flags, and the rows a workgroup has.
const uint SUBTRACT_MEAN = 1, GATE_AFTER = 2, GATE_BEFORE = 4, GATE_SIGMOID = 8, WIDE = 16;

const uint RESIDUAL = 0, WEIGHT = 4, BIAS = 8, OUTPUT = 12, SUM = 16, SUM_GRADIENT = 20, GRADIENT = 24;    // bit positions of element types in args.types

bool has(uint flag) { return (args.flags & flag) != 0; }
uint typeOf(uint position) { return (args.types >> position) & 15u; }

// σ(g), or σ(g) g
vec4 act(vec4 g) {
    vec4 s = 1.0 / (1.0 + exp(-g));
    return has(GATE_SIGMOID) ? s : s * g;
}

vec4 actSlope(vec4 g) {
    vec4 s = 1.0 / (1.0 + exp(-g));
    return has(GATE_SIGMOID) ? s * (1.0 - s) : s * (1.0 + g * (1.0 - s));
}

// 1 for the elements of a group of four at i that lie in the row.
vec4 inRow(uint i) { return vec4(lessThan(uvec4(i, i + 1, i + 2, i + 3), uvec4(args.width))); }

// The mean of a row: stats hold rstd [rows], then mean [rows] if there is one.
float meanOf(uint row, uint rows) { return args.stats.v[has(SUBTRACT_MEAN) ? rows + row : row] * (has(SUBTRACT_MEAN) ? 1.0 : 0.0); }
