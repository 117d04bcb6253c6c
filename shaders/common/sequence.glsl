// Which sequence token t of a row belongs to: the n with cu[n] <= t < cu[n + 1]; cu rises from 0, empty sequences are skipped.
uint sequenceOf(I32Buf cu, uint sequences, uint t) {
    uint low = 0, high = sequences;             // cu[low] <= t < cu[high]
    while (high - low > 1) {
        uint middle = (low + high) / 2;
        if (uint(cu.v[middle]) <= t) low = middle;
        else high = middle;
    }
    return low;
}
