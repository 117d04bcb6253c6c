// Sequences within tokens [B·T]: rows of `span` tokens each, or, with boundaries [sequences + 1] that rise from 0, stretches of one packed row.
struct Sequence { uint number; uint first; uint end; };

Sequence sequenceAt(I32Buf starts, uint span, uint number) {
    Sequence s = Sequence(number, number * span, (number + 1) * span);
    if (!isNull(starts)) s = Sequence(number, uint(starts.v[number]), uint(starts.v[number + 1]));
    return s;
}

// The sequence that holds a token.
Sequence sequenceOf(I32Buf starts, uint span, uint sequences, uint token) {
    uint low = 0, high = sequences;             // starts[low] <= token < starts[high]
    if (isNull(starts)) low = token / span;
    else while (high - low > 1) {
        uint middle = (low + high) / 2;
        if (uint(starts.v[middle]) <= token) low = middle;
        else high = middle;
    }
    return sequenceAt(starts, span, low);
}
