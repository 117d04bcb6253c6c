using Fla.Layers;
using Fla.Models.Checkpoints;
using Fla.Models.Configs;
using Fla.Models.Training;
using Fla.Vulkan;

namespace Fla.Models.Checking;

/// <summary>
/// Runs a reference case as fla's own run recorded it (expected.safetensors, with config.json or layer.json and model.safetensors) and says how close
/// this device comes: the proof of a checkpoint on a card.
/// </summary>
/// <remarks>
/// A half-precision type that cannot hold the file's weights exactly changes the model before anything is computed. What that alone does to each result is
/// measured in f32, named in the row's note, and added to its tolerance: the tolerance judges the computation. Where it exceeds the tolerance by itself,
/// the type cannot tell right from wrong, and the row is shown but not judged. A type that holds the weights exactly still rounds activations: rows that
/// fail are given the same chance, with weights that were moved as far as the type rounds, several times over.
/// </remarks>
public static class CheckRunner
{
    // Half a unit in the last place, as a part of the power of two below a number: of 11 bits and of 8.
    private const float HalfRounding = 1f / (1 << 11);
    private const float BFloatRounding = 1f / (1 << 8);
    private const int Moves = 4;

    /// <summary>Runs one folder, whatever keys its expected.safetensors holds.</summary>
    /// <param name="folder">The case: a model (config.json) or a layer (layer.json).</param>
    /// <param name="device">Where to run it.</param>
    /// <param name="options">Float type and form; fp32 and the layers' own choice when null.</param>
    /// <exception cref="CheckException">The folder is no reference case, or its arrays do not fit the model.</exception>
    /// <exception cref="CheckpointException">A malformed file, or weights that do not fit.</exception>
    /// <exception cref="ConfigException">A malformed configuration, or one that asks for what is not implemented.</exception>
    public static CheckReport Run(string folder, ComputeDevice device, CheckOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(device);
        options ??= new();
        if (!options.DType.IsFloat()) throw new CheckException($"models run in f32, f16 or bf16, not in {options.DType.ShortName()}");
        if (!Directory.Exists(folder)) throw new CheckException($"there is no folder {folder}");
        using var scope = device.Scope();
        using var reference = new ReferenceCase(folder);
        var hasModel = File.Exists(Path.Combine(folder, ModelConfig.FileName));
        if (!hasModel && !File.Exists(Path.Combine(folder, LayerFile.FileName)))
        {
            throw new CheckException($"{folder} holds neither {ModelConfig.FileName} nor {LayerFile.FileName}");
        }
        var rows = new CheckRows();
        using Module subject = hasModel ? CausalLM.FromPretrained(folder, device, options.DType) : LayerFile.Load(folder, device, options.DType);
        Compare(subject, reference, options, rows);
        if (options.DType != DType.Float32) rows = Allow(rows, subject, folder, reference, options);
        return new(folder, subject is CausalLM model ? model.Config.ModelType : subject.GetType().Name, rows.Rows, reference.Unused);
    }

    private static void Compare(Module subject, ReferenceCase reference, CheckOptions options, CheckRows rows)
    {
        if (subject is CausalLM model) new ModelCheck(model, reference, options, rows).Run();
        else new LayerCheck((TokenMixer)subject, reference, options, rows).Run();
    }

    /// <summary>Whether a float type cannot hold the weights of the file exactly.</summary>
    private static bool LosesBits(string folder, DType type)
    {
        using var checkpoint = Checkpoint.Open(folder);
        return type != DType.Float32 && checkpoint.Tensors.Values.Any(info => WeightLoader.TypeOf(info) != type);
    }

    /// <summary>
    /// Rows with what rounding does by itself allowed for. One rounding may spare a result of few numbers by chance, so that where rows still fail, the weights
    /// are moved by as much as the type rounds, some more times, each in its own way.
    /// </summary>
    private static CheckRows Allow(CheckRows rows, Module rounded, string folder, ReferenceCase reference, CheckOptions options)
    {
        var roundings = new List<CheckRows>();
        var losesBits = LosesBits(folder, options.DType);
        if (losesBits) roundings.Add(RoundingOfWeights(rounded, folder, reference, options, move: 0));
        var allowed = rows.Allow(roundings, losesBits);
        for (var move = 1; move <= Moves && !allowed.AreOk; move++)
        {
            roundings.Add(RoundingOfWeights(rounded, folder, reference, options, move));
            allowed = rows.Allow(roundings, losesBits);
        }
        return allowed;
    }

    /// <summary>The errors that the rounded weights, moved in one way unless <paramref name="move"/> is 0, make in an otherwise exact computation.</summary>
    private static CheckRows RoundingOfWeights(Module rounded, string folder, ReferenceCase reference, CheckOptions options, int move)
    {
        var device = rounded.Device;
        using Module exact = rounded is CausalLM ? CausalLM.FromPretrained(folder, device, DType.Float32) : LayerFile.Load(folder, device, DType.Float32);
        var draws = new SplitMix((ulong)move);
        foreach (var (target, source) in exact.Parameters().Zip(rounded.Parameters()))
        {
            if (move > 0) target.Write(Moved(source.ToSingle(), options.DType == DType.Float16 ? HalfRounding : BFloatRounding, ref draws));
            else target.CopyFrom(source);
        }
        var rows = new CheckRows();
        Compare(exact, reference, options with { DType = DType.Float32 }, rows);
        return rows;
    }

    /// <summary>Each value by up to what rounding it could change, up or down as random bits fall.</summary>
    private static float[] Moved(float[] values, float part, ref SplitMix draws)
    {
        foreach (ref var value in values.AsSpan())
        {
            if (value != 0) value += MathF.ScaleB(part * (int)draws.Next() / (1u << 31), MathF.ILogB(value));
        }
        return values;
    }
}
