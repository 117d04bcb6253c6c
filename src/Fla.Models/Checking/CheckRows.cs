using System.Globalization;

namespace Fla.Models.Checking;

/// <summary>Collects comparisons.</summary>
internal sealed class CheckRows
{
    // Activations are rounded as often as weights several times over.
    private const double GrosslyWrong = 4;

    private readonly List<CheckRow> _rows = [];

    public IReadOnlyList<CheckRow> Rows => _rows;

    /// <summary>Whether every row is below its tolerance.</summary>
    public bool AreOk => _rows.TrueForAll(row => row.IsOk);

    /// <summary>Compares arrays by their error ratio.</summary>
    public void Compare(string key, ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, double tolerance)
    {
        if (actual.Length != expected.Length) throw new CheckException($"{key}: the file holds {expected.Length} numbers, the model gives {actual.Length}");
        double difference = 0, norm = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            var delta = (double)actual[i] - expected[i];
            difference += delta * delta;
            norm += (double)expected[i] * expected[i];
        }
        Add(key, difference == 0 ? 0 : Math.Sqrt(difference / norm), tolerance);
    }

    /// <summary>
    /// Adds to the tolerance of each row, or of those that fail, the error that rounding the weights makes by itself; a row that this alone takes over its
    /// tolerance is not judged.
    /// </summary>
    public void Allow(IReadOnlyList<CheckRow> rounding, bool isForAll)
    {
        var errors = rounding.ToDictionary(row => row.Key, row => row.Error, StringComparer.Ordinal);
        for (var i = 0; i < _rows.Count; i++)
        {
            if (_rows[i] is not { Key: not "generated" } row || (row.IsOk && !isForAll) || !(errors[row.Key] is > 0 and var error)) continue;
            var note = $"rounded weights alone: {error.ToString("E1", CultureInfo.InvariantCulture)}";
            _rows[i] = error < row.Tolerance
                ? row with { Tolerance = row.Tolerance + error, Note = note }
                : row with { Tolerance = GrosslyWrong * error, Note = note + ", so not judged in this type", IsJudged = false };
        }
    }

    /// <summary>Adds a comparison.</summary>
    public void Add(string key, double error, double tolerance, string note = "") => _rows.Add(new(key, error, tolerance, note));
}
