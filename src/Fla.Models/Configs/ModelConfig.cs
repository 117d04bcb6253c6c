using System.Text.Json.Nodes;
using Fla.Models.Checkpoints;

namespace Fla.Models.Configs;

/// <summary>
/// A model's config.json: the fields that all families share, with fla's names and defaults. Fields that a family does not know are kept and
/// written back. <see cref="Load"/> picks the family by <c>model_type</c>.
/// </summary>
public abstract partial class ModelConfig
{
    /// <summary>Name of the file in a model folder.</summary>
    public const string FileName = "config.json";

    /// <summary>Largest width, number of heads and the like that is believed.</summary>
    internal const int MaxWidth = 1 << 22;

    private const int MaxLayers = 1 << 16;
    private const int MaxVocabulary = 1 << 28;
    private const long MaxFileBytes = 16 << 20;
    private const string NewerDtypeField = "dtype";
    private const string OlderDtypeField = "torch_dtype";

    private JsonObject _unknown = [];
    private string _dtypeField = NewerDtypeField;
    private bool _attnIsList;
    private IReadOnlyList<string>? _architectures;

    /// <summary>The families that there are, by their <c>model_type</c>.</summary>
    public static IEnumerable<string> Families => ModelConfigRegistry.Names;

    /// <summary>The family's <c>model_type</c>, such as <c>gla</c>.</summary>
    public abstract string ModelType { get; }

    /// <summary>The class that fla instantiates, such as <c>GLAForCausalLM</c>.</summary>
    public abstract string Architecture { get; }

    /// <summary><c>architectures</c>: what the file says, else <see cref="Architecture"/>.</summary>
    public IReadOnlyList<string> Architectures
    {
        get => _architectures ?? [Architecture];
        set => _architectures = value;
    }

    /// <summary><c>vocab_size</c>: rows of the embedding.</summary>
    public int VocabSize { get; set; } = 32000;

    /// <summary><c>hidden_size</c>: width of the residual stream, D.</summary>
    public int HiddenSize { get; set; } = 2048;

    /// <summary><c>num_hidden_layers</c>: number of blocks, L.</summary>
    public int NumHiddenLayers { get; set; } = 24;

    /// <summary><c>hidden_ratio</c>: the MLP's width over D before the 2/3 of gated MLPs; null stands for 4.</summary>
    public double? HiddenRatio { get; set; } = 4;

    /// <summary><c>intermediate_size</c>: the MLP's width; null for <see cref="HiddenRatio"/>'s rule.</summary>
    public int? IntermediateSize { get; set; }

    /// <summary><c>hidden_act</c>: activation of the MLP's gate, and of output gates.</summary>
    public string HiddenAct { get; set; } = "swish";

    /// <summary><c>attn_mode</c>: the form of the operator for long inputs; all forms compute the same.</summary>
    public string AttnMode { get; set; } = "chunk";

    /// <summary><c>max_position_embeddings</c>: the length the model was trained for; limits nothing.</summary>
    public int MaxPositionEmbeddings { get; set; } = 2048;

    /// <summary><c>elementwise_affine</c>: whether norms inside the mixer have a weight.</summary>
    public bool ElementwiseAffine { get; set; } = true;

    /// <summary><c>norm_eps</c>.</summary>
    public double NormEps { get; set; } = 1e-6;

    /// <summary><c>attn</c>: layers that are standard attention; empty for none.</summary>
    public IReadOnlyList<AttnSpec> Attn { get; set; } = [];

    /// <summary><c>use_cache</c>.</summary>
    public bool UseCache { get; set; } = true;

    /// <summary><c>pad_token_id</c>.</summary>
    public int? PadTokenId { get; set; }

    /// <summary><c>bos_token_id</c>.</summary>
    public int? BosTokenId { get; set; } = 1;

    /// <summary><c>eos_token_id</c>.</summary>
    public int? EosTokenId { get; set; } = 2;

    /// <summary><c>tie_word_embeddings</c>: whether the head is the embedding when the checkpoint has no <c>lm_head.weight</c>.</summary>
    public bool TieWordEmbeddings { get; set; }

    /// <summary><c>initializer_range</c>: standard deviation of fresh linear and embedding weights.</summary>
    public double InitializerRange { get; set; } = 0.02;

    /// <summary><c>fuse_norm</c>: also picks the name of a gated norm's weight in some layers.</summary>
    public bool FuseNorm { get; set; } = true;

    /// <summary><c>fuse_swiglu</c>: without effect on numbers.</summary>
    public bool FuseSwiglu { get; set; } = true;

    /// <summary><c>fuse_cross_entropy</c>.</summary>
    public bool FuseCrossEntropy { get; set; } = true;

    /// <summary><c>fuse_linear_cross_entropy</c>: excludes <see cref="FuseCrossEntropy"/>.</summary>
    public bool FuseLinearCrossEntropy { get; set; }

    /// <summary><c>use_l2warp</c>.</summary>
    public bool UseL2Warp { get; set; }

    /// <summary><c>attnres_block_size</c>: null for none, 1, or an even number of at least 2.</summary>
    public int? AttnResBlockSize { get; set; }

    /// <summary><c>dtype</c> (older: <c>torch_dtype</c>): float16, bfloat16, float32, float64, or null when unsaid.</summary>
    public string? Dtype { get; set; }

    /// <summary>Names of the file's fields that this family does not know.</summary>
    public IEnumerable<string> UnknownFields => _unknown.Select(entry => entry.Key);

    /// <summary>
    /// Width of the MLP, I: <see cref="IntermediateSize"/>, or 2/3 of D times the ratio, rounded down, then up to a multiple of 256.
    /// </summary>
    public virtual int MlpWidth => IntermediateSize ?? checked((int)Math.Ceiling(Math.Floor(HiddenSize * (HiddenRatio ?? 4) * 2 / 3) / 256) * 256);

    /// <summary>Takes the sizes of a fresh model; heads share its width.</summary>
    public virtual void SetSizes(int hiddenSize, int layers, int heads) => (HiddenSize, NumHiddenLayers) = (hiddenSize, layers);

    /// <summary>Reads the config.json of a model folder, or the file itself.</summary>
    /// <exception cref="ConfigException">The file cannot be read, is malformed, of an unknown family, or has a field out of range.</exception>
    public static ModelConfig Load(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        var file = Directory.Exists(path) ? Path.Combine(path, FileName) : path;
        try
        {
            var length = new FileInfo(file).Length;
            return length <= MaxFileBytes
                ? Parse(File.ReadAllBytes(file), file)
                : throw new ConfigException($"{length} bytes are too many for a configuration", file: file);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new ConfigException("cannot be read: " + error.Message, file: file, innerException: error);
        }
    }

    /// <summary>Parses the bytes of a config.json.</summary>
    /// <param name="json">UTF-8 text.</param>
    /// <param name="file">What messages call it, or null.</param>
    /// <exception cref="ConfigException">Malformed, of an unknown family, or a field out of range.</exception>
    public static ModelConfig Parse(ReadOnlySpan<byte> json, string? file = null)
    {
        try
        {
            var source = ConfigJson.Parse(json);
            var config = ModelConfigRegistry.Create(source);
            var fields = ConfigFields.Reading(source);
            config.Exchange(fields);
            config._unknown = fields.TakeUnknown();
            config.Check();
            return config;
        }
        catch (ConfigException error) when (file is not null)
        {
            throw new ConfigException(error.Problem, error.Field, file, error);
        }
    }

    /// <summary>Checks types, ranges and what fields demand of each other.</summary>
    /// <exception cref="ConfigException">Names the first offending field.</exception>
    public void Validate()
    {
        Exchange(ConfigFields.Writing());
        Check();
    }

    /// <summary>Writes config.json into a folder, for this library and for fla, replacing the old one as a whole.</summary>
    /// <exception cref="ConfigException">A field is out of range.</exception>
    /// <exception cref="CheckpointException">The disk refuses.</exception>
    public void Save(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        var json = ToJson();
        AtomicFile.Write(Path.Combine(folder, FileName), stream => stream.Write(json));
    }

    /// <summary>The bytes of config.json.</summary>
    /// <exception cref="ConfigException">A field is out of range.</exception>
    public byte[] ToJson()
    {
        var fields = ConfigFields.Writing();
        Exchange(fields);
        Check();
        var target = fields.Written;
        foreach (var (name, value) in _unknown)
        {
            target.TryAdd(name, value?.DeepClone());
        }

        var stream = new MemoryStream();
        ConfigJson.Write(stream, target);
        return stream.ToArray();
    }

    /// <summary>The attention that replaces the mixer of a layer, or null.</summary>
    public AttnSpec? AttentionAt(int layer) => Attn.FirstOrDefault(spec => spec.Layers.Contains(layer));

    /// <summary>Passes every field of config.json through <paramref name="fields"/>; a family adds its own after calling the base.</summary>
    protected virtual void Exchange(ConfigFields fields)
    {
        ArgumentNullException.ThrowIfNull(fields);
        fields.LeaveOut(AbsentFields);
        _ = fields.Choice(ModelConfigRegistry.Field, ModelType, ModelType);
        Architectures = fields.Strings("architectures", Architectures);
        VocabSize = fields.Int("vocab_size", VocabSize, 1, MaxVocabulary);
        HiddenSize = fields.Int("hidden_size", HiddenSize, 1, MaxWidth);
        NumHiddenLayers = fields.Int("num_hidden_layers", NumHiddenLayers, 1, MaxLayers);
        HiddenRatio = fields.RatioOrNull("hidden_ratio", HiddenRatio, 1.0 / 1024, 256);
        IntermediateSize = fields.IntOrNull("intermediate_size", IntermediateSize, 1, MaxWidth);
        HiddenAct = fields.Choice("hidden_act", HiddenAct, AllowedActivations);
        AttnMode = fields.Choice("attn_mode", AttnMode, AllowedModes);
        MaxPositionEmbeddings = fields.Int("max_position_embeddings", MaxPositionEmbeddings, 1, int.MaxValue);
        ElementwiseAffine = fields.Bool("elementwise_affine", ElementwiseAffine);
        NormEps = fields.Float("norm_eps", NormEps, 0, 1);
        Attn = fields.Custom(AttnSpec.Field, Attn, ReadAttn, WriteAttn);
        UseCache = fields.Bool("use_cache", UseCache);
        PadTokenId = fields.IntOrNull("pad_token_id", PadTokenId, 0, MaxVocabulary);
        BosTokenId = fields.IntOrNull("bos_token_id", BosTokenId, 0, MaxVocabulary);
        EosTokenId = fields.IntOrNull("eos_token_id", EosTokenId, 0, MaxVocabulary);
        TieWordEmbeddings = fields.Bool("tie_word_embeddings", TieWordEmbeddings);
        InitializerRange = fields.Float("initializer_range", InitializerRange, 0, 1e6);
        FuseNorm = fields.Bool("fuse_norm", FuseNorm);
        FuseSwiglu = fields.Bool("fuse_swiglu", FuseSwiglu);
        FuseCrossEntropy = fields.Bool("fuse_cross_entropy", FuseCrossEntropy);
        FuseLinearCrossEntropy = fields.Bool("fuse_linear_cross_entropy", FuseLinearCrossEntropy);
        UseL2Warp = fields.Bool("use_l2warp", UseL2Warp);
        AttnResBlockSize = fields.IntOrNull("attnres_block_size", AttnResBlockSize, 1, MaxLayers);
        ExchangeDtype(fields);
    }

    /// <summary>Fields of the bases that the family does not have: they are not written, and unknown when read.</summary>
    protected virtual ReadOnlySpan<string> AbsentFields => [];

    /// <summary>Values of <c>attn_mode</c> that the family has.</summary>
    protected virtual ReadOnlySpan<string> AllowedModes => new[] { "chunk", "fused_recurrent" };

    /// <summary>Values of <c>hidden_act</c> that the family can run.</summary>
    protected virtual ReadOnlySpan<string> AllowedActivations => new[] { "swish" };

    /// <summary>Checks what fields demand of each other; a family adds its own after calling the base.</summary>
    /// <exception cref="ConfigException">Names the first offending field.</exception>
    protected virtual void Check()
    {
        if (FuseCrossEntropy && FuseLinearCrossEntropy)
        {
            throw new ConfigException("cannot be true together with fuse_cross_entropy", "fuse_linear_cross_entropy");
        }

        if (AttnResBlockSize is { } block && block != 1 && block % 2 != 0)
        {
            throw new ConfigException($"{block} is neither null, 1 nor even", "attnres_block_size");
        }

        if (PadTokenId >= VocabSize)
        {
            throw new ConfigException($"{PadTokenId} is outside a vocabulary of {VocabSize}", "pad_token_id");
        }

        var taken = new HashSet<int>();
        foreach (var spec in Attn)
        {
            spec.Validate(HiddenSize, NumHiddenLayers);
            foreach (var layer in spec.Layers)
            {
                if (!taken.Add(layer))
                {
                    throw new ConfigException($"layer {layer} is in two objects", $"{AttnSpec.Field}.layers");
                }
            }
        }
    }

    private void ExchangeDtype(ConfigFields fields)
    {
        if (!fields.Has(NewerDtypeField) && fields.Has(OlderDtypeField))
        {
            _dtypeField = OlderDtypeField;
        }

        Dtype = fields.ChoiceOrNull(_dtypeField, Dtype, "float16", "bfloat16", "float32", "float64");
    }

    private IReadOnlyList<AttnSpec> ReadAttn(JsonNode? node)
    {
        _attnIsList = node is JsonArray;
        return node switch
        {
            null => [],
            JsonArray list => [.. list.Select(AttnSpec.Read)],
            _ => [AttnSpec.Read(node)],
        };
    }

    private JsonNode? WriteAttn(IReadOnlyList<AttnSpec> specs) => specs.Count switch
    {
        0 when !_attnIsList => null,
        1 when !_attnIsList => specs[0].Write(),
        _ => new JsonArray([.. specs.Select(spec => spec.Write())]),
    };
}
