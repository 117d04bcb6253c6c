using NUnit.Framework;

namespace Fla.Testing;

/// <summary>How far an array is from its reference: ‖x − y‖₂ / ‖y‖₂, the measure of all tolerances.</summary>
public static class ErrorRatio
{
    /// <summary>
    /// The error ratio, in double precision: 0 when both are zero, infinite when only the reference is. A NaN or an infinity on either side
    /// gives NaN, which passes no comparison.
    /// </summary>
    /// <exception cref="ArgumentException">The lengths differ, or there is nothing to compare.</exception>
    public static double Of(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        if (actual.Length != expected.Length || expected.IsEmpty)
        {
            throw new ArgumentException($"cannot compare {actual.Length} values with {expected.Length} expected ones");
        }

        double difference = 0;
        double norm = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            if (!float.IsFinite(actual[i]) || !float.IsFinite(expected[i]))
            {
                return double.NaN;
            }

            var delta = (double)actual[i] - expected[i];
            difference += delta * delta;
            norm += (double)expected[i] * expected[i];
        }

        return difference == 0 ? 0 : Math.Sqrt(difference / norm);
    }

    /// <summary>Fails the test unless the error ratio is below <paramref name="tolerance"/>; NaN never passes.</summary>
    public static void AssertClose(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, double tolerance, string name)
    {
        if (actual.Length != expected.Length)
        {
            Assert.Fail($"{name}: {actual.Length} values instead of {expected.Length}");
        }

        var ratio = Of(actual, expected);
        if (!(ratio < tolerance))
        {
            Assert.Fail($"{name}: error ratio {ratio:E3}, tolerance {tolerance:E1}; {DescribeWorst(actual, expected)}");
        }
    }

    private static string DescribeWorst(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        var worst = 0;
        float largest = -1;
        for (var i = 0; i < expected.Length; i++)
        {
            var delta = Math.Abs(actual[i] - expected[i]);
            if (!float.IsFinite(delta))
            {
                worst = i;
                break;
            }

            if (delta > largest)
            {
                (worst, largest) = (i, delta);
            }
        }

        return $"worst at {worst}: {actual[worst]:G9} instead of {expected[worst]:G9}";
    }
}
