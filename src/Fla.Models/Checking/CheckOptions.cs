using Fla.Layers;
using Fla.Vulkan;

namespace Fla.Models.Checking;

/// <summary>How a reference case is run.</summary>
public sealed record CheckOptions
{
    /// <summary>Float type of weights and activations.</summary>
    public DType DType { get; init; } = DType.Float32;

    /// <summary>Form of the recurrences; null lets each layer choose, as in use.</summary>
    public AttnMode? Mode { get; init; }
}

/// <summary>One comparison.</summary>
/// <param name="Key">Name in the reference file.</param>
/// <param name="Error">
/// Error ratio ‖x − y‖ / ‖y‖; for a loss the difference; for generated tokens see <see cref="CheckReport"/>. NaN when numbers are not finite.
/// </param>
/// <param name="Tolerance">The error must stay below it.</param>
/// <param name="Note">What else there is to say, or empty.</param>
public sealed record CheckRow(string Key, double Error, double Tolerance, string Note = "")
{
    /// <summary>Whether the error is below the tolerance.</summary>
    public bool IsOk => Error < Tolerance;

    /// <summary>
    /// False where the float type is too coarse to tell right from wrong: rounding the weights alone moves the result by more than what a right computation
    /// may be off. The tolerance then only catches what is grossly wrong, and such a row proves nothing.
    /// </summary>
    public bool IsJudged { get; init; } = true;
}

/// <summary>
/// What a reference case showed. The error of generated tokens is 0 when all are equal; else 1 in f32, and in half precision how much less likely the
/// expected token was at the first difference, as a part of the logits' norm.
/// </summary>
/// <param name="Folder">The case.</param>
/// <param name="Subject">What it holds: a model type or the class of a layer.</param>
/// <param name="Rows">Comparisons, in the order in which they were made.</param>
/// <param name="Skipped">Keys of the file that are of no kind that is known.</param>
public sealed record CheckReport(string Folder, string Subject, IReadOnlyList<CheckRow> Rows, IReadOnlyList<string> Skipped)
{
    /// <summary>Whether there was something to compare, and all of it is below its tolerance.</summary>
    public bool IsOk => Rows.Any(row => row.IsJudged) && Rows.All(row => row.IsOk);
}

/// <summary>A folder that cannot be run as a reference case.</summary>
public sealed class CheckException(string message, Exception? inner = null) : FlaException(message, inner!);
