using Silk.NET.Vulkan;

namespace Fla.Vulkan;

public sealed unsafe partial class ComputeStream
{
    private const uint QueriesPerPool = 2 * BatchSize;

    private Profile? _profile;
    private QueryPool _queries;
    private readonly List<string> _queryNames = [];

    /// <summary>Times every dispatch until the returned profile is stopped. Dispatches then run one after the other, so the times add up.</summary>
    /// <exception cref="DeviceException">The device's queue has no timestamps.</exception>
    /// <exception cref="InvalidOperationException">A profile or a capture is under way.</exception>
    public Profile StartProfile()
    {
        lock (_device.Gate)
        {
            if (_device.Limits.TimestampPeriod == 0) throw new DeviceException($"{_device.Name} has no timestamps");
            if (_profile != null || IsCapturing) throw new InvalidOperationException("a profile or a capture is already under way");
            Flush();
            if (_queries.Handle == 0)
            {
                var info = new QueryPoolCreateInfo { SType = StructureType.QueryPoolCreateInfo, QueryType = QueryType.Timestamp, QueryCount = QueriesPerPool };
                QueryPool pool;
                _device.Check(_api.CreateQueryPool(_device.Handle, &info, null, &pool), "vkCreateQueryPool");
                _queries = pool;
            }
            return _profile = new(_device.Name, EndProfile);
        }
    }

    private void EndProfile()
    {
        lock (_device.Gate)
        {
            Flush();
            _profile = null;
        }
    }

    private void OpenProfileBatch()
    {
        _queryNames.Clear();
        if (_profile != null) _api.CmdResetQueryPool(_current, _queries, 0, QueriesPerPool);
    }

    private int BeginTimestamp(string name)
    {
        if (_profile == null || IsCapturing || 2 * _queryNames.Count + 2 > QueriesPerPool) return -1;
        var query = _queryNames.Count;
        _queryNames.Add(name);
        _api.CmdWriteTimestamp2(_current, PipelineStageFlags2.AllCommandsBit, _queries, (uint)(2 * query));
        return query;
    }

    private void EndTimestamp(int query)
    {
        if (query >= 0) _api.CmdWriteTimestamp2(_current, PipelineStageFlags2.AllCommandsBit, _queries, (uint)(2 * query + 1));
    }

    private void CollectProfile()
    {
        if (_profile == null || _queryNames.Count == 0) return;
        Wait(_submitted);
        var ticks = new ulong[2 * _queryNames.Count];
        fixed (ulong* p = ticks)
        {
            _device.Check(_api.GetQueryPoolResults(_device.Handle, _queries, 0, (uint)ticks.Length, (nuint)(ticks.Length * 8), p, 8,
                QueryResultFlags.Result64Bit | QueryResultFlags.ResultWaitBit), "vkGetQueryPoolResults");
        }
        var period = _device.Limits.TimestampPeriod;
        for (var i = 0; i < _queryNames.Count; i++) _profile.Add(_queryNames[i], ticks[2 * i] * period, (ticks[2 * i + 1] - ticks[2 * i]) * period);
        _queryNames.Clear();
    }

    private void DisposeProfiler()
    {
        if (_queries.Handle != 0) _api.DestroyQueryPool(_device.Handle, _queries, null);
    }
}
