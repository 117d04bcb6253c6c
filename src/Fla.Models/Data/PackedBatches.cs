using System.Collections.Concurrent;
using Fla.Models.Training;

namespace Fla.Models.Data;

/// <summary>Samples of a dataset in order, read ahead by a thread of its own: a training step never waits for the disk.</summary>
public sealed class PackedBatches : IDisposable
{
    private readonly BlockingCollection<PackedBatch> _ready;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _producer;

    /// <summary>Begins to read.</summary>
    /// <param name="data">The dataset; the thread's alone until this is disposed.</param>
    /// <param name="first">Number of the first sample.</param>
    /// <param name="ahead">At most so many samples wait in memory.</param>
    public PackedBatches(PackedDataset data, long first, int ahead = 16)
    {
        ArgumentNullException.ThrowIfNull(data);
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        _ready = new(ahead);
        _producer = Task.Factory.StartNew(() => Produce(data, first), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>The next samples.</summary>
    /// <param name="count">How many.</param>
    /// <exception cref="DatasetException">A file was cut off or removed meanwhile.</exception>
    public IReadOnlyList<PackedBatch> Take(int count)
    {
        var batches = new PackedBatch[count];
        for (var i = 0; i < count; i++)
        {
            if (_ready.TryTake(out batches[i]!, Timeout.Infinite)) continue;
            _producer.GetAwaiter().GetResult();
            throw new ObjectDisposedException(nameof(PackedBatches));
        }
        return batches;
    }

    /// <summary>Stops the thread.</summary>
    public void Dispose()
    {
        _stop.Cancel();
        try
        {
            _producer.Wait();
        }
        catch (AggregateException)
        {
            // Whoever wanted more samples was told.
        }
        _ready.Dispose();
        _stop.Dispose();
    }

    private void Produce(PackedDataset data, long first)
    {
        try
        {
            for (var index = first; ; index++) _ready.Add(data.Sample(index), _stop.Token);
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Nobody wants more.
        }
        finally
        {
            _ready.CompleteAdding();
        }
    }
}
