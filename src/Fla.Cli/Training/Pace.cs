namespace Fla.Cli.Training;

/// <summary>How many steps fit a time budget: measured as the run goes, so that it ends in time on a machine that slows down.</summary>
/// <param name="budget">Time for all steps.</param>
/// <param name="steps">A fixed number of steps instead; null to fit the budget.</param>
internal sealed class Pace(TimeSpan budget, long? steps)
{
    private const double Recent = 0.3;

    private TimeSpan _last;
    private long _lastStep;
    private double _secondsPerStep;

    /// <summary>Steps of the whole run, as far as is known; 0 before the first measurement.</summary>
    public long Steps { get; private set; } = steps ?? 0;

    /// <summary>True when the number of steps was given.</summary>
    public bool IsFixed => steps != null;

    /// <summary>Seconds that a step takes now.</summary>
    public double SecondsPerStep => _secondsPerStep;

    /// <summary>Time that the steps left will take.</summary>
    public TimeSpan Left { get; private set; }

    /// <summary>The time begins, with so many steps done before.</summary>
    public void Start(long done) => (_last, _lastStep) = (TimeSpan.Zero, done);

    /// <summary>Tells that so many steps are done, after so much time.</summary>
    public void Measure(long done, TimeSpan elapsed)
    {
        if (done == _lastStep) return;
        var now = (elapsed - _last).TotalSeconds / (done - _lastStep);
        _secondsPerStep = _secondsPerStep == 0 ? now : Recent * now + (1 - Recent) * _secondsPerStep;
        (_last, _lastStep) = (elapsed, done);
        if (steps == null) Steps = done + (long)Math.Max(0, (budget - elapsed).TotalSeconds / _secondsPerStep);
        Left = TimeSpan.FromSeconds((Steps - done) * _secondsPerStep);
    }

    /// <summary>Forgets the time spent on something else than steps, up to now.</summary>
    public void Skip(TimeSpan elapsed) => _last = elapsed;
}
