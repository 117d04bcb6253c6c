using Fla.Layers;

namespace Fla.Models;

/// <summary>The memory of a model's layers: of fixed size, whatever the number of tokens seen, but for layers of softmax attention without a window.</summary>
public sealed class ModelCache : IDisposable
{
    private readonly LayerCache[] _layers;

    /// <summary>An empty cache.</summary>
    /// <param name="layers">Number of layers.</param>
    public ModelCache(int layers)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layers);
        _layers = [.. Enumerable.Range(0, layers).Select(_ => new LayerCache())];
    }

    /// <summary>The cache of one layer.</summary>
    public LayerCache this[int layer] => _layers[layer];

    /// <summary>Number of layers.</summary>
    public int Count => _layers.Length;

    /// <summary>Tokens seen, padding included.</summary>
    public int SeenTokens => _layers[0].SeenTokens;

    /// <summary>Bytes of all states.</summary>
    public long ByteCount => _layers.Sum(layer => layer.ByteCount);

    /// <summary>Whether the layers can take so many more tokens where their memory is.</summary>
    internal bool HasRoom(int tokens) => Array.TrueForAll(_layers, layer => layer.HasRoom(tokens));

    /// <summary>Makes room for more tokens; what was captured before then reads memory that is gone.</summary>
    internal void Reserve(int tokens)
    {
        foreach (var layer in _layers) layer.Reserve(tokens);
    }

    /// <summary>Counts tokens that a replayed graph has seen.</summary>
    internal void Advance(int tokens)
    {
        foreach (var layer in _layers) layer.Advance(tokens);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var layer in _layers) layer.Dispose();
    }
}
