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
    /// The rows with the error that rounding the weights makes by itself added to their tolerances; a row that this alone takes over its tolerance is not
    /// judged. Of several measurements a row takes as many as it needs to pass, and the largest of those.
    /// </summary>
    /// <param name="roundings">Measurements: a run each.</param>
    /// <param name="isForAll">Whether the first is for all rows; false leaves rows alone that are below their tolerance.</param>
    public CheckRows Allow(IReadOnlyList<CheckRows> roundings, bool isForAll)
    {
        var errors = roundings.Select(run => run._rows.ToDictionary(row => row.Key, row => row.Error, StringComparer.Ordinal)).ToList();
        var allowed = new CheckRows();
        foreach (var row in _rows)
        {
            var (result, largest) = (row, 0.0);
            for (var i = 0; i < errors.Count && row.Key != "generated" && (!result.IsOk || (i == 0 && isForAll)); i++)
            {
                largest = Math.Max(largest, errors[i].GetValueOrDefault(row.Key));
                if (largest > 0) result = Allow(row, largest);
            }
            allowed._rows.Add(result);
        }
        return allowed;
    }

    private static CheckRow Allow(CheckRow row, double error)
    {
        var note = $"rounded weights alone: {error.ToString("E1", CultureInfo.InvariantCulture)}";
        return error < row.Tolerance
            ? row with { Tolerance = row.Tolerance + error, Note = note }
            : row with { Tolerance = GrosslyWrong * error, Note = note + ", so not judged in this type", IsJudged = false };
    }

    /// <summary>Adds a comparison.</summary>
    public void Add(string key, double error, double tolerance, string note = "") => _rows.Add(new(key, error, tolerance, note));
}
