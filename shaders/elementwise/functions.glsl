// The functions f(x, z) of the elementwise kernels and their derivatives; numbers as in Fla.Vulkan.Ops.ElementFunction.
const uint ADD = 0, MUL = 1, AFFINE = 2, SILU = 3, SIGMOID = 4, LOGSIGMOID = 5, GELU = 6, RELU = 7, SQRELU = 8, BIAS_GELU = 9, EXP = 10,
    ELU_PLUS_ONE = 11, CLAMP_MIN = 12, SWIGLU = 13, SIGMOIDGLU = 14, POWGLU = 15, SOFTPLUS = 16, TANH = 17, DIV = 18, SPREAD = 19;

float sigmoid(float x) { return 1.0 / (1.0 + exp(-x)); }

// 1 - 2/(e^2x + 1) does not overflow to NaN; its cancellation near 0 is avoided by the series.
float tanhOf(float x) { return abs(x) < 0.02 ? x * (1.0 - x * x / 3.0) : 1.0 - 2.0 / (exp(2.0 * x) + 1.0); }

// ln(1 + e) for 0 <= e <= 1
float log1pOf(float e) { return e < 0.03 ? e * (1.0 - e * (0.5 - e * (1.0 / 3.0 - 0.25 * e))) : log(1.0 + e); }

float softplus(float x) { return max(x, 0.0) + log1pOf(exp(-abs(x))); }

const float GELU_C = 0.79788456, GELU_A = 0.044715;
float gelu(float x) { return 0.5 * x * (1.0 + tanhOf(GELU_C * x * (1.0 + GELU_A * x * x))); }

float geluSlope(float x) {
    float t = tanhOf(GELU_C * x * (1.0 + GELU_A * x * x));
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * GELU_C * (1.0 + 3.0 * GELU_A * x * x);
}

float siluSlope(float x) {
    float s = sigmoid(x);
    return s * (1.0 + x * (1.0 - s));
}

float powGate(float x, float p) { return (x > 0.0 ? exp(p / (sqrt(x) + 1.0) * log(x)) : x) * sigmoid(x); }

float powGateSlope(float x, float p) {
    if (x <= 0.0) return siluSlope(x);
    float r = sqrt(x);
    float q = p / (r + 1.0);
    float dq = -p / (2.0 * r * (r + 1.0) * (r + 1.0));
    return powGate(x, p) * (dq * log(x) + q / x + 1.0 - sigmoid(x));
}

// f(x, z) with parameters a, b.
float apply(uint op, float x, float z, float a, float b) {
    switch (op) {
        case ADD: return a * x + b * z;
        case MUL: return x * z;
        case DIV: return x / z;
        case SPREAD: return a * z;
        case AFFINE: return a * x + b;
        case SILU: return x * sigmoid(x);
        case SIGMOID: return sigmoid(x);
        case LOGSIGMOID: return -softplus(-x) * a;
        case GELU: return gelu(x);
        case RELU: return max(x, 0.0);
        case SQRELU: return max(x, 0.0) * max(x, 0.0);
        case BIAS_GELU: return gelu(x + z);
        case EXP: return exp(x);
        case ELU_PLUS_ONE: return x > 0.0 ? x + 1.0 : exp(x);
        case CLAMP_MIN: return max(x, a);
        case SWIGLU: return x * sigmoid(x) * z;
        case SIGMOIDGLU: return sigmoid(x) * z;
        case POWGLU: return powGate(x, a) * z;
        case SOFTPLUS: return softplus(x);
        case TANH: return tanhOf(x);
    }
    return 0.0;
}

// (df/dx, df/dz)
vec2 slopes(uint op, float x, float z, float a, float b) {
    switch (op) {
        case ADD: return vec2(a, b);
        case MUL: return vec2(z, x);
        case DIV: return vec2(1.0 / z, -x / (z * z));
        case AFFINE: return vec2(a, 0.0);
        case SILU: return vec2(siluSlope(x), 0.0);
        case SIGMOID: return vec2(sigmoid(x) * sigmoid(-x), 0.0);
        case LOGSIGMOID: return vec2(sigmoid(-x) * a, 0.0);
        case GELU: return vec2(geluSlope(x), 0.0);
        case RELU: return vec2(x > 0.0 ? 1.0 : 0.0, 0.0);
        case SQRELU: return vec2(2.0 * max(x, 0.0), 0.0);
        case BIAS_GELU: return vec2(geluSlope(x + z));
        case EXP: return vec2(exp(x), 0.0);
        case ELU_PLUS_ONE: return vec2(x > 0.0 ? 1.0 : exp(x), 0.0);
        case CLAMP_MIN: return vec2(x >= a ? 1.0 : 0.0, 0.0);
        case SWIGLU: return vec2(siluSlope(x) * z, x * sigmoid(x));
        case SIGMOIDGLU: return vec2(sigmoid(x) * sigmoid(-x) * z, sigmoid(x));
        case POWGLU: return vec2(powGateSlope(x, a) * z, powGate(x, a));
        case SOFTPLUS: return vec2(sigmoid(x), 0.0);
        case TANH: return vec2(1.0 - tanhOf(x) * tanhOf(x), 0.0);
    }
    return vec2(0.0);
}

// How the second operand spreads over the first: z[(i / inner) % period].
uint spread(uint i, uint inner, uint period) { return (i / inner) % period; }
