using Fla.Layers;
using Fla.Models.Configs;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Models;

/// <summary>
/// A causal language model of any family: embeddings, blocks of a token mixer and a gated MLP, a final norm, and a head. The family is the configuration's.
/// </summary>
public sealed partial class CausalLM : Module
{
    private readonly Trunk _trunk;
    private readonly Tensor _head;

    private CausalLM(ComputeDevice device, ModelConfig config, DType dtype, bool isHeadTied)
        : base(device, dtype)
    {
        Config = config;
        _trunk = AddModule("model", () => new Trunk(device, config, dtype));
        IsHeadTied = isHeadTied;
        if (isHeadTied) _head = AddShared("lm_head.weight", _trunk.Embeddings.Weight);
        else _head = AddModule("lm_head", () => new Linear(device, config.HiddenSize, config.VocabSize, weightRule: config.HeadRule, dtype: dtype)).Weight;
    }

    /// <summary>The configuration.</summary>
    public ModelConfig Config { get; }

    /// <summary>Whether the head is the embedding.</summary>
    public bool IsHeadTied { get; }

    /// <summary>Whether packed sequences stay apart; else some layer runs over a packed row as one sequence, as fla's does.</summary>
    public bool UsesCuSeqlens => _trunk.UsesCuSeqlens;

    /// <summary>Whether blocks are recomputed in the backward pass instead of kept (Chen et al. 2016); only in training mode.</summary>
    public bool UsesGradientCheckpointing { get; set; }

    /// <summary>A model with fresh weights, in evaluation mode.</summary>
    /// <param name="device">Where.</param>
    /// <param name="config">Family and sizes.</param>
    /// <param name="seed">Seed of the weights.</param>
    /// <param name="dtype">Float type of weights and activations.</param>
    /// <exception cref="ConfigException">A field is out of range, or asks for a layer that is not implemented.</exception>
    public static CausalLM Create(ComputeDevice device, ModelConfig config, ulong seed = 42, DType dtype = DType.Float32)
    {
        ArgumentNullException.ThrowIfNull(config);
        var model = CreateEmpty(device, config, dtype);
        try
        {
            model.Initialize(new Initializer(seed, config.InitializerRange));
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Whether models of a configuration keep packed sequences apart, found without memory for one.</summary>
    /// <exception cref="ConfigException">A field is out of range, or asks for a layer that is not implemented.</exception>
    public static bool KeepsSequencesApart(ComputeDevice device, ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(device);
        var result = false;
        device.Stream.Rehearse(_ =>
        {
            using var model = CreateEmpty(device, config, DType.Float32);
            result = model.UsesCuSeqlens;
        });
        return result;
    }

    /// <summary>A model whose parameters hold anything.</summary>
    internal static CausalLM CreateEmpty(ComputeDevice device, ModelConfig config, DType dtype)
    {
        config.CheckModules();
        return new(device, config, dtype, config.TieWordEmbeddings);
    }

    /// <summary>An empty cache for this model.</summary>
    public ModelCache NewCache() => new(Config.NumHiddenLayers);

    /// <summary>Puts token ids on the device.</summary>
    /// <param name="ids">Row-major ids of <paramref name="rows"/> rows.</param>
    /// <param name="rows">B.</param>
    /// <returns>i32 [B, T].</returns>
    /// <exception cref="ShapeException">No ids, or not as many in every row.</exception>
    /// <exception cref="TokenIdException">An id is not in the vocabulary.</exception>
    public Tensor Tokens(ReadOnlySpan<int> ids, int rows = 1)
    {
        if (rows < 1 || ids.Length == 0 || ids.Length % rows != 0) throw new ShapeException($"{ids.Length} token ids do not make {rows} equal rows");
        for (var i = 0; i < ids.Length; i++)
        {
            if (ids[i] < 0 || ids[i] >= Config.VocabSize) throw new TokenIdException(ids[i], i, Config.VocabSize);
        }
        return Tensor.FromInt32(Device, ids, rows, ids.Length / rows);
    }

    /// <summary>Runs the model.</summary>
    /// <param name="inputIds">i32 or i64 [B, T], each in the vocabulary: see <see cref="Tokens"/>, which checks them.</param>
    /// <param name="options">Labels, padding, packing, cache.</param>
    /// <exception cref="ShapeException">Shapes that do not fit.</exception>
    /// <exception cref="InvalidOperationException">A cache together with gradient checkpointing.</exception>
    public ModelOutput Forward(Tensor inputIds, ForwardOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(inputIds);
        options ??= new();
        Check(inputIds, options);
        var isCheckpointed = UsesGradientCheckpointing && IsTraining && Autograd.IsEnabled;
        if (isCheckpointed && options.Cache != null) throw new InvalidOperationException("gradient checkpointing runs blocks twice and cannot be used with a cache");
        using var scope = Device.Scope();
        var hidden = options.OutputHiddenStates ? new List<Tensor>() : null;
        var states = _trunk.Forward(inputIds, options, isCheckpointed, hidden);
        var isFused = options.Labels != null && (options.Loss?.IsFused ?? Config.FusesLoss(IsTraining));
        var logits = isFused ? null : Logits(states, options.LogitsToKeep);
        var loss = options.Labels == null ? null : Loss(inputIds, states, logits, options);
        return new(logits is null ? null : scope.Keep(logits), loss is null ? null : scope.Keep(loss), hidden is null ? [] : [.. hidden.Select(scope.Keep)]);
    }

    private Tensor Logits(Tensor states, int keep)
    {
        if (keep > 0 && keep < states.Size(1)) states = LastPositions(states, keep);
        return Products.Linear(states, _head);
    }

    private Tensor LastPositions(Tensor states, int count)
    {
        var (rows, length) = (states.Size(0), states.Size(1));
        var index = new int[rows * count];
        for (var i = 0; i < index.Length; i++) index[i] = (((i / count) + 1) * length) - count + (i % count);
        using var onDevice = Tensor.FromInt32(Device, index, index.Length);
        return Rows.Gather(states.View(rows * length, Config.HiddenSize), onDevice).View(rows, count, Config.HiddenSize);
    }

    private void Check(Tensor ids, ForwardOptions options)
    {
        if (ids.Rank != 2 || ids.Count == 0) throw new ShapeException($"token ids need [B, T] with at least one token, they are {ids.Describe()}");
        if (options.LogitsToKeep < 0) throw new ShapeException($"logitsToKeep cannot be {options.LogitsToKeep}");
        if (options.Labels is not { } labels) return;
        if (options.Loss?.Teacher is { } teacher) CheckTeacher(teacher);
        if (!labels.Shape.SequenceEqual(ids.Shape)) throw new ShapeException($"labels {labels.Describe()} do not fit token ids {ids.Describe()}");
        if (options.LogitsToKeep > 0) throw new ShapeException("a loss needs the logits of all positions: give labels or logitsToKeep, not both");
    }
}
