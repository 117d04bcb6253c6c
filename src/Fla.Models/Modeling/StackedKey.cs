namespace Fla.Models;

/// <summary>A parameter that a file keeps as one row of a matrix.</summary>
/// <param name="Key">Key of the matrix.</param>
/// <param name="Row">The row.</param>
/// <param name="Rows">Rows of the matrix.</param>
internal readonly record struct StackedKey(string Key, int Row, int Rows);
