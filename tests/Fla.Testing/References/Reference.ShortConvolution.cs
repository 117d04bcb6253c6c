namespace Fla.Testing.References;

/// <content>Short causal convolution.</content>
public static partial class Reference
{
    /// <summary>
    /// Depthwise causal convolution of x [B,T,C] with weight [C,W] or [C,1,W] (the last tap meets the current token):
    /// o = act(Σ weight·x + bias) + residual.
    /// </summary>
    /// <remarks>
    /// Results "o" and "ht" [N,C,W], the last W inputs of each sequence. Gradients of "x", "weight", "bias", "residual", "h0".
    /// </remarks>
    /// <param name="x">[B,T,C].</param>
    /// <param name="weight">[C,W] or [C,1,W].</param>
    /// <param name="bias">[C].</param>
    /// <param name="residual">[B,T,C], added after the activation.</param>
    /// <param name="activation">An activation's name, or null for none.</param>
    /// <param name="initialState">[N,C,W], the W inputs before each sequence; zero when null.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences.</param>
    /// <param name="doutput">Gradient of o.</param>
    /// <param name="dfinal">Gradient of the final state.</param>
    public static RefResult ShortConvolution(
        RefTensor x, RefTensor weight, RefTensor? bias = null, RefTensor? residual = null, string? activation = "silu",
        RefTensor? initialState = null, int[]? cuSeqlens = null, RefTensor? doutput = null, RefTensor? dfinal = null)
    {
        int batch = x.Shape[0], length = x.Shape[1], channels = x.Shape[2], taps = weight.Shape[^1];
        (int Start, int End)[] sequences = Sequences.Of(batch, length, cuSeqlens);
        weight.Reshape(channels, taps);
        bias?.Require(nameof(bias), channels);
        residual?.Require(nameof(residual), x.Shape);
        initialState?.Require(nameof(initialState), sequences.Length, channels, taps);
        var run = new Differentiation(doutput, dfinal);
        VarTensor input = run.Input("x", x), w = run.Input("weight", weight);
        VarTensor? b = run.OptionalInput("bias", bias), added = run.OptionalInput("residual", residual);
        VarTensor? h0 = run.OptionalInput("h0", initialState);
        run.Output("o", doutput, x.Shape);
        run.Output("ht", dfinal, sequences.Length, channels, taps);
        for (int n = 0; n < sequences.Length; n++)
        {
            for (int c = 0; c < channels; c++)
            {
                RunChannel(n, c);
                run.EndPiece();
            }
        }

        return run.Result();

        void RunChannel(int n, int c)
        {
            (int start, int end) = sequences[n];
            int state = ((n * channels) + c) * taps;
            for (int t = 0; t < end - start; t++)
            {
                Var y = b?.Data[c] ?? 0;
                for (int tap = 0; tap < taps; tap++)
                {
                    y += w.Data[(c * taps) + tap] * At(t - taps + 1 + tap);
                }

                y = activation is null ? y : Activations.Apply(activation, y);
                int index = ((start + t) * channels) + c;
                run.Set("o", index, y + (added?.Data[index] ?? 0));
            }

            for (int i = 0; i < taps; i++)
            {
                run.Set("ht", state + i, At(end - start - taps + i));
            }

            // The channel's input at a time that is negative in the initial state.
            Var At(int t) => t >= 0 ? input.Data[((start + t) * channels) + c] : h0?.Data[state + taps + t] ?? 0;
        }
    }
}
