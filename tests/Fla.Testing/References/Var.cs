namespace Fla.Testing.References;

/// <summary>A real number that knows how it was computed, when it depends on a leaf of a <see cref="Tape"/>; else just a number.</summary>
public readonly struct Var
{
    internal const int LeafPiece = -1;

    internal Var(double value, Tape? tape, int index, int piece)
    {
        Value = value;
        Tape = tape;
        Index = index;
        Piece = piece;
    }

    /// <summary>The number itself.</summary>
    public double Value { get; }

    internal Tape? Tape { get; }

    internal int Index { get; }

    internal int Piece { get; }

    /// <summary>A constant: nothing is recorded for it.</summary>
    public static implicit operator Var(double value) => new(value, null, 0, 0);

    public static Var operator +(Var a, Var b) => Binary(a.Value + b.Value, a, 1, b, 1);

    public static Var operator -(Var a, Var b) => Binary(a.Value - b.Value, a, 1, b, -1);

    public static Var operator -(Var a) => Unary(-a.Value, a, -1);

    public static Var operator *(Var a, Var b) => Binary(a.Value * b.Value, a, b.Value, b, a.Value);

    public static Var operator /(Var a, Var b) => Binary(a.Value / b.Value, a, 1 / b.Value, b, -a.Value / (b.Value * b.Value));

    /// <summary>eᵃ</summary>
    public static Var Exp(Var a)
    {
        double y = Math.Exp(a.Value);
        return Unary(y, a, y);
    }

    /// <summary>ln a</summary>
    public static Var Log(Var a) => Unary(Math.Log(a.Value), a, 1 / a.Value);

    /// <summary>√a</summary>
    public static Var Sqrt(Var a)
    {
        double y = Math.Sqrt(a.Value);
        return Unary(y, a, 0.5 / y);
    }

    /// <summary>σ(a) = 1 / (1 + e⁻ᵃ)</summary>
    public static Var Sigmoid(Var a)
    {
        double y = 1 / (1 + Math.Exp(-a.Value));
        return Unary(y, a, y * (1 - y));
    }

    /// <summary>tanh a</summary>
    public static Var Tanh(Var a)
    {
        double y = Math.Tanh(a.Value);
        return Unary(y, a, 1 - (y * y));
    }

    /// <summary>|a|, with derivative 0 at 0.</summary>
    public static Var Abs(Var a) => Unary(Math.Abs(a.Value), a, Math.Sign(a.Value));

    /// <summary>max(a, 0), with derivative 0 at 0.</summary>
    public static Var Relu(Var a) => a.Value > 0 ? a : 0;

    /// <summary>The larger of two; the first where they are equal.</summary>
    public static Var Max(Var a, Var b) => a.Value >= b.Value ? a : b;

    /// <summary>The smaller of two; the first where they are equal.</summary>
    public static Var Min(Var a, Var b) => a.Value <= b.Value ? a : b;

    /// <summary>Σ aᵢ</summary>
    public static Var Sum(ReadOnlySpan<Var> a)
    {
        double sum = 0;
        Tape? tape = null;
        foreach (Var x in a)
        {
            sum += x.Value;
            tape ??= x.Tape;
            tape?.AddEdge(x, 1);
        }

        return tape is null ? sum : tape.Record(sum);
    }

    /// <summary>Σ aᵢ bᵢ</summary>
    public static Var Dot(ReadOnlySpan<Var> a, ReadOnlySpan<Var> b)
    {
        if (a.Length != b.Length)
        {
            throw new ArgumentException($"A vector of {a.Length} has no dot product with one of {b.Length}.", nameof(b));
        }

        double sum = 0;
        Tape? tape = null;
        for (int i = 0; i < a.Length; i++)
        {
            sum += a[i].Value * b[i].Value;
            tape ??= a[i].Tape ?? b[i].Tape;
            tape?.AddEdge(a[i], b[i].Value);
            tape?.AddEdge(b[i], a[i].Value);
        }

        return tape is null ? sum : tape.Record(sum);
    }

    /// <summary>ln Σ e^aᵢ, with the largest taken out first.</summary>
    public static Var LogSumExp(ReadOnlySpan<Var> a)
    {
        double largest = double.NegativeInfinity;
        foreach (Var x in a)
        {
            largest = Math.Max(largest, x.Value);
        }

        var terms = new Var[a.Length];
        for (int i = 0; i < a.Length; i++)
        {
            terms[i] = Exp(a[i] - largest);
        }

        return largest + Log(Sum(terms));
    }

    private static Var Unary(double value, Var a, double da)
    {
        if (a.Tape is not { } tape)
        {
            return value;
        }

        tape.AddEdge(a, da);
        return tape.Record(value);
    }

    private static Var Binary(double value, Var a, double da, Var b, double db)
    {
        if ((a.Tape ?? b.Tape) is not { } tape)
        {
            return value;
        }

        tape.AddEdge(a, da);
        tape.AddEdge(b, db);
        return tape.Record(value);
    }
}
