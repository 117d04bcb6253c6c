using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models.Generation;

/// <summary>
/// One token at a time for a batch, after its prompts. The states stay in place, so one captured step decodes every token: before a replay the host writes the
/// tokens and their positions. Where softmax attention keeps all keys, it is captured again whenever they move.
/// </summary>
internal sealed class Decoder : IDisposable
{
    private readonly CausalLM _model;
    private readonly ModelCache _cache;
    private readonly bool _usesGraph;
    private readonly bool _isArgMax;
    private readonly int[] _positions;
    private readonly Tensor _ids;
    private readonly Tensor _offsets;
    private CommandGraph? _graph;
    private Tensor? _result;

    /// <summary>A decoder.</summary>
    /// <param name="model">The model.</param>
    /// <param name="cache">Its memory of the prompts.</param>
    /// <param name="positions">Position of each row's next token.</param>
    /// <param name="usesGraph">Whether the step is captured and replayed.</param>
    /// <param name="isArgMax">Whether the device chooses the likeliest token.</param>
    public Decoder(CausalLM model, ModelCache cache, int[] positions, bool usesGraph, bool isArgMax)
    {
        _model = model;
        _cache = cache;
        _positions = positions;
        _usesGraph = usesGraph;
        _isArgMax = isArgMax;
        _ids = Tensor.Empty(model.Device, DType.Int32, positions.Length, 1).Own();
        _offsets = Tensor.Empty(model.Device, DType.Int32, positions.Length).Own();
    }

    /// <summary>Feeds one token a row. The result is logits [B, 1, V], or the likeliest tokens i32 [B, 1], and is the decoder's own.</summary>
    public Tensor Step(ReadOnlySpan<int> tokens)
    {
        _ids.Write(tokens);
        _offsets.Write(_positions);
        for (var row = 0; row < _positions.Length; row++) _positions[row]++;
        if (!_usesGraph)
        {
            _result?.Dispose();
            _result = Record();
        }
        else
        {
            if (!_cache.HasRoom(1)) Move();
            if (_graph != null) _cache.Advance(1);
            else _graph = _model.Device.Stream.Capture(() => _result = Record());
            _graph.Replay();
        }
        return _result!;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _result?.Dispose();
        _graph?.Dispose();
        _ids.Dispose();
        _offsets.Dispose();
    }

    /// <summary>Makes room in the cache; the step is captured anew.</summary>
    private void Move()
    {
        _graph?.Dispose();
        _graph = null;
        _result?.Dispose();
        _result = null;
        _cache.Reserve(1);
    }

    private Tensor Record()
    {
        using var noGrad = Autograd.NoGrad();
        using var scope = _model.Device.Scope();
        var logits = _model.Forward(_ids, new() { Cache = _cache, Offsets = _offsets }).Logits!;
        return (_isArgMax ? Reductions.ArgMax(logits) : logits).Own();
    }
}
