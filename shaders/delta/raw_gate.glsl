// The decay of a raw gate, for y = x + bias: -rate softplus(y), or with `bounded` lower sigmoid(rate y); rate = e^A_log.
float sigmoid(float x) { return 1.0 / (1.0 + exp(-x)); }

// ln(1 + e^x); the series where 1 + e^-|x| would lose digits.
float softplus(float x) {
    float e = exp(-abs(x));
    return max(x, 0.0) + (e < 0.03 ? e * (1.0 - e * (0.5 - e * (1.0 / 3.0 - 0.25 * e))) : log(1.0 + e));
}

float rawGate(float y, float rate, bool bounded, float lower) { return bounded ? lower * sigmoid(rate * y) : -rate * softplus(y); }

// d gate / dx
float rawGateSlope(float y, float rate, bool bounded, float lower) {
    float z = bounded ? rate * y : y;
    return bounded ? lower * rate * sigmoid(z) * sigmoid(-z) : -rate * sigmoid(z);
}
