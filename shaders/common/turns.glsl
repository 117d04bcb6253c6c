// Sine and cosine of an angle in turns, as a 32-bit fraction of one: to a few units in the last place whatever the driver's own functions give, and the
// same range reduction for every angle (it is exact).
// Returns (cos, sin).
vec2 cosSinTurns(uint turns) {
    uint quadrant = (turns + 0x20000000u) >> 30;
    float a = float(int(turns - (quadrant << 30))) * (6.283185307179586 / 4294967296.0);     // within π/4 of the quadrant's axis
    float z = a * a;
    float s = a + a * z * (-1.6666654611e-1 + z * (8.3321608736e-3 - z * 1.9515295891e-4));
    float c = 1 - 0.5 * z + z * z * (4.166664568298827e-2 + z * (-1.388731625493765e-3 + z * 2.443315711809948e-5));
    if ((quadrant & 1) != 0) { float t = c; c = -s; s = t; }
    return (quadrant & 2) != 0 ? vec2(-c, -s) : vec2(c, s);
}
