namespace Fla.Layers;

/// <summary>What RWKV-7's weights start from, by the depth of the layer and the place of the channel.</summary>
internal sealed class Rwkv7Start
{
    private readonly int _width;
    private readonly int _head;
    private readonly int _layer;
    private readonly int _layers;

    /// <summary>The start of one layer; of a model's only one where nothing is said.</summary>
    public Rwkv7Start(Rwkv7AttentionOptions options)
    {
        _width = options.HiddenSize;
        _head = options.HeadK;
        _layer = options.LayerIdx ?? 0;
        _layers = Math.Max(options.NumHiddenLayers ?? 1, _layer + 1);
    }

    /// <summary>Factors of the removal keys.</summary>
    public WeightRule RemovalKey => WeightRules.Values(i => 0.71 - (0.1 * Slope(i[0])));

    /// <summary>Bias of the decays.</summary>
    public WeightRule Decay => WeightRules.Values(i => -5.5 + (6 * Math.Pow(Slope(i[0]) + 0.5, 1 + Math.Pow(Depth, 0.3))) + (2.5 * Zigzag(i[0])));

    /// <summary>Bias of the in-context learning rates.</summary>
    public WeightRule LearningRate => WeightRules.Values(i => -0.19 + (0.3 * Zigzag(i[0])) + (0.4 * Slope(i[0])));

    /// <summary>Bias of the mixture of values.</summary>
    public WeightRule ValueMix => WeightRules.Values(i => 0.73 - (0.4 * Slope(i[0])));

    /// <summary>Weight of the group norm.</summary>
    public WeightRule Norm => WeightRules.Constant((float)Math.Pow((_layer + 1.0) / _layers, 0.7));

    /// <summary>Weight of the output projection.</summary>
    public WeightRule Output => WeightRules.KaimingUniform(Math.Sqrt(2.0 * _layers));

    /// <summary>From 0 in the first layer to 1 in the last.</summary>
    private double Depth => _layers > 1 ? (double)_layer / (_layers - 1) : 0;

    /// <summary>From 1 in the first layer to almost 0 in the last.</summary>
    private double Height => 1 - ((double)_layer / _layers);

    /// <summary>How much of the token before a channel takes.</summary>
    public WeightRule Mixture(double power) => WeightRules.Values(i => 1 - Math.Pow((double)i[^1] / _width, power * Height));

    /// <summary>From −1/2 to 1/2 over all channels.</summary>
    private double Slope(int channel) => ((double)channel / Math.Max(1, _width - 1)) - 0.5;

    /// <summary>From −1 to 1 over the channels of a head, flat in the middle.</summary>
    private double Zigzag(int channel)
    {
        var middle = (_head - 1) / 2.0;
        var z = middle == 0 ? 0 : ((channel % _head) - middle) / middle;
        return z * Math.Abs(z);
    }
}
