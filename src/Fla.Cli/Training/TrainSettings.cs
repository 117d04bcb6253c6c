using System.Text.Json;
using System.Text.Json.Serialization;
using Fla.Models;
using Fla.Models.Checkpoints;
using Fla.Models.Configs;
using Fla.Models.Training;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.Cli.Training;

/// <summary>Everything that decides a run of <c>fla train</c>, as it is saved with the run in <see cref="FileName"/>: the flags, spelt with underscores.</summary>
internal sealed class TrainSettings
{
    /// <summary>Name of the file in the run's folder.</summary>
    public const string FileName = "train.json";

    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        WriteIndented = true,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false) },
    };

    public string? Data { get; set; }

    public string TextField { get; set; } = Models.Data.DocumentReader.DefaultField;

    public string? Tokenizer { get; set; }

    public string Model { get; set; } = "gla";

    public string? Init { get; set; }

    public int HiddenSize { get; set; } = 512;

    public int Layers { get; set; } = 8;

    public int? Heads { get; set; }

    public string Dtype { get; set; } = "f32";

    public int BatchSize { get; set; } = 8;

    public int SeqLen { get; set; } = 512;

    public int Accumulation { get; set; } = 1;

    public long Steps { get; set; } = 1000;

    public double Lr { get; set; } = 1e-3;

    public ScheduleKind Schedule { get; set; } = ScheduleKind.Cosine;

    public long Warmup { get; set; } = 50;

    public double MinLrRatio { get; set; } = 0.1;

    public double DecayRatio { get; set; } = 0.1;

    public double WeightDecay { get; set; } = 0.1;

    public double Beta1 { get; set; } = 0.9;

    public double Beta2 { get; set; } = 0.95;

    public double MaxGradNorm { get; set; } = 1;

    public bool ActivationCheckpointing { get; set; }

    public bool FusedLoss { get; set; } = true;

    public float LabelSmoothing { get; set; }

    public float ZLoss { get; set; }

    public string? Teacher { get; set; }

    public float DistillWeight { get; set; } = 0.5f;

    public float Temperature { get; set; } = 1;

    public float LossScale { get; set; } = Vulkan.Ops.LossScale.Dynamic.Initial;

    public int LossScaleGrowth { get; set; } = Vulkan.Ops.LossScale.Dynamic.GrowthInterval;

    public double HeldOut { get; set; } = 0.02;

    public int HeldOutWindows { get; set; } = 64;

    public long EvalEvery { get; set; } = 200;

    public long SampleEvery { get; set; } = 200;

    public int SampleTokens { get; set; } = 64;

    public string? Prompt { get; set; }

    public long SaveEvery { get; set; } = 500;

    public int KeepLast { get; set; } = 2;

    public long Seed { get; set; } = 42;

    /// <summary>Reads a settings file.</summary>
    /// <exception cref="ConfigException">It is malformed, or has a field that is not known.</exception>
    public static TrainSettings Load(string path)
    {
        try
        {
            return JsonSerializer.Deserialize<TrainSettings>(File.ReadAllBytes(path), Json) ?? throw new ConfigException("holds null", file: path);
        }
        catch (JsonException error)
        {
            throw new ConfigException(error.Message, file: path, innerException: error);
        }
    }

    /// <summary>Writes the settings file of a run.</summary>
    /// <exception cref="CheckpointException">The disk refuses.</exception>
    public void Save(string folder)
    {
        Directory.CreateDirectory(folder);
        var path = Path.Combine(folder, FileName);
        File.WriteAllBytes(path + ".new", JsonSerializer.SerializeToUtf8Bytes(this, Json));
        File.Move(path + ".new", path, overwrite: true);
    }

    /// <summary>What the trainer is told.</summary>
    /// <param name="maxSequences">Room for packed sequences; 0 for windows.</param>
    /// <param name="teacher">The loaded <see cref="Teacher"/>, or null.</param>
    public TrainerOptions TrainerOptions(int maxSequences, CausalLM? teacher = null) => new()
    {
        MaxSequences = maxSequences,
        BatchSize = BatchSize,
        SequenceLength = SeqLen,
        AccumulationSteps = Accumulation,
        Schedule = new() { Kind = Schedule, Peak = Lr, Steps = Steps, WarmupSteps = Math.Min(Warmup, Steps), MinRatio = MinLrRatio, DecayRatio = DecayRatio },
        AdamW = new AdamWSettings(Beta1, Beta2, 1e-8, WeightDecay),
        MaxGradNorm = MaxGradNorm,
        UsesGradientCheckpointing = ActivationCheckpointing,
        Loss = new()
        {
            IsFused = FusedLoss, LabelSmoothing = LabelSmoothing, ZLoss = ZLoss, Teacher = teacher, DistillWeight = DistillWeight, Temperature = Temperature,
        },
        LossScale = FloatType() == DType.Float16 ? Vulkan.Ops.LossScale.Dynamic with { Initial = LossScale, GrowthInterval = LossScaleGrowth } : null,
    };

    /// <summary>The model's configuration: of a file, or a family's defaults with these sizes.</summary>
    /// <param name="tokenizer">Its special tokens go into a fresh configuration; null for none.</param>
    /// <param name="vocabSize">Vocabulary of the data; a configuration from a file has to have as many tokens.</param>
    /// <exception cref="ConfigException">The file is malformed, the family unknown, or the vocabulary too small.</exception>
    public ModelConfig ModelConfig(Models.Tokenizers.TextTokenizer? tokenizer, int vocabSize)
    {
        var isFile = Model.EndsWith(".json", StringComparison.Ordinal) || Directory.Exists(Model);
        var config = isFile ? Models.Configs.ModelConfig.Load(Model) : Fresh(tokenizer, vocabSize);
        if (config.VocabSize < vocabSize) throw new ConfigException($"{config.VocabSize} is less than the data's {vocabSize}", "vocab_size", isFile ? Model : null);
        return config;
    }

    private ModelConfig Fresh(Models.Tokenizers.TextTokenizer? tokenizer, int vocabSize)
    {
        var config = Models.Configs.ModelConfig.Parse(JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, object> { ["model_type"] = Model }));
        config.SetSizes(HiddenSize, Layers, Heads ?? Math.Max(1, HiddenSize / (HiddenSize >= 1024 ? 256 : 64)));
        (config.VocabSize, config.MaxPositionEmbeddings) = (vocabSize, SeqLen);
        (config.BosTokenId, config.EosTokenId, config.PadTokenId) = (tokenizer?.BosId, tokenizer?.EosId, tokenizer?.PadId);
        config.Validate();
        return config;
    }

    /// <summary>The float type of parameters and activations.</summary>
    public DType FloatType() => DTypes.Parse(Dtype) is var type && type.IsFloat()
        ? type : throw new DTypeException($"models are trained in f32, f16 or bf16, not in {Dtype}");
}
