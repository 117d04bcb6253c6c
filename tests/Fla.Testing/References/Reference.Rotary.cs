namespace Fla.Testing.References;

/// <content>Rotary position embedding.</content>
public static partial class Reference
{
    /// <summary>
    /// Turns pairs of channels of x [B,T,H,D] by (position)·base^(−2i/dim): pairs (i, i + dim/2), or (2i, 2i + 1) when
    /// <paramref name="interleaved"/>. Channels past <paramref name="dim"/> stay. Result "o", gradient of "x".
    /// </summary>
    /// <param name="x">[B,T,H,D].</param>
    /// <param name="dim">How many channels turn (even); all when null.</param>
    /// <param name="baseFrequency">The base.</param>
    /// <param name="interleaved">Adjacent pairs instead of halves.</param>
    /// <param name="offsets">Position of the first token: one number for all sequences or one each; 0 when null.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences: positions restart at each.</param>
    /// <param name="tableLength">Positions from here on, and negative ones, give zeros in the turned channels; no end when null.</param>
    /// <param name="doutput">Gradient of o.</param>
    public static RefResult Rotary(
        RefTensor x, int? dim = null, double baseFrequency = 10000, bool interleaved = false, int[]? offsets = null,
        int[]? cuSeqlens = null, int? tableLength = null, RefTensor? doutput = null)
    {
        int batch = x.Shape[0], length = x.Shape[1], heads = x.Shape[2], width = x.Shape[3], turned = dim ?? width;
        (int Start, int End)[] sequences = Sequences.Of(batch, length, cuSeqlens);
        if (offsets is not null && offsets.Length != 1 && offsets.Length != sequences.Length)
        {
            throw new ArgumentException($"{offsets.Length} offsets for {sequences.Length} sequences.", nameof(offsets));
        }

        if (turned % 2 != 0 || turned > width)
        {
            throw new ArgumentException($"Cannot turn {turned} of {width} channels.", nameof(dim));
        }

        var run = new Differentiation(doutput);
        VarTensor input = run.Input("x", x);
        run.Output("o", doutput, x.Shape);
        for (int n = 0; n < sequences.Length; n++)
        {
            int offset = offsets is null ? 0 : offsets[offsets.Length == 1 ? 0 : n];
            for (int token = sequences[n].Start; token < sequences[n].End; token++)
            {
                int position = offset + token - sequences[n].Start;
                for (int head = 0; head < heads; head++)
                {
                    TurnHead(((token * heads) + head) * width, position);
                }
            }
        }

        return run.Result();

        void TurnHead(int start, int position)
        {
            bool inTable = position >= 0 && (tableLength is null || position < tableLength);
            for (int i = 0; i < turned / 2; i++)
            {
                double angle = position * Math.Pow(baseFrequency, -2.0 * i / turned);
                double cos = inTable ? Math.Cos(angle) : 0, sin = inTable ? Math.Sin(angle) : 0;
                int first = start + (interleaved ? 2 * i : i), second = interleaved ? first + 1 : first + (turned / 2);
                run.Set("o", first, (input.Data[first] * cos) - (input.Data[second] * sin));
                run.Set("o", second, (input.Data[first] * sin) + (input.Data[second] * cos));
            }

            for (int i = turned; i < width; i++)
            {
                run.Set("o", start + i, input.Data[start + i]);
            }
        }
    }
}
