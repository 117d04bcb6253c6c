// Constant log decay of a head: gamma[head] if given; else retention's ln(1 - 2^(-5-h)) for kind < 0, or -kind h.
float headDecay(F32Buf gamma, float kind, uint head) {
    if (!isNull(gamma)) return gamma.v[head];
    if (kind >= 0) return -kind * float(head);
    float x = exp2(-5.0 - float(head));                    // at most 1/32: five terms of the series are exact to fp32, log() is not
    return -x * (1 + x * (1.0 / 2 + x * (1.0 / 3 + x * (1.0 / 4 + x * (1.0 / 5)))));
}
