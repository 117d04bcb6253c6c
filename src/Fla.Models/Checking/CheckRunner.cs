using Fla.Vulkan;

namespace Fla.Models.Checking;

/// <summary>
/// Runs a reference case as fla's own run recorded it (expected.safetensors, with config.json or layer.json and model.safetensors) and says how close
/// this device comes: the proof of a checkpoint on a card.
/// </summary>
public static class CheckRunner
{
    /// <summary>Runs one folder, whatever keys its expected.safetensors holds.</summary>
    /// <param name="folder">The case: a model (config.json) or a layer (layer.json).</param>
    /// <param name="device">Where to run it.</param>
    /// <param name="options">Float type and form; fp32 and the layers' own choice when null.</param>
    /// <exception cref="CheckException">The folder is no reference case, or its arrays do not fit the model.</exception>
    /// <exception cref="Checkpoints.CheckpointException">A malformed file, or weights that do not fit.</exception>
    /// <exception cref="Configs.ConfigException">A malformed configuration, or one that asks for what is not implemented.</exception>
    public static CheckReport Run(string folder, ComputeDevice device, CheckOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(device);
        options ??= new();
        if (!options.DType.IsFloat()) throw new CheckException($"models run in f32, f16 or bf16, not in {options.DType.ShortName()}");
        if (!Directory.Exists(folder)) throw new CheckException($"there is no folder {folder}");
        using var scope = device.Scope();
        using var reference = new ReferenceCase(folder);
        var rows = new CheckRows();
        string subject;
        if (File.Exists(Path.Combine(folder, Configs.ModelConfig.FileName)))
        {
            using var model = CausalLM.FromPretrained(folder, device, options.DType);
            new ModelCheck(model, reference, options, rows).Run();
            subject = model.Config.ModelType;
        }
        else if (File.Exists(Path.Combine(folder, LayerFile.FileName)))
        {
            using var layer = LayerFile.Load(folder, device, options.DType);
            new LayerCheck(layer, reference, options, rows).Run();
            subject = layer.GetType().Name;
        }
        else
        {
            throw new CheckException($"{folder} holds neither {Configs.ModelConfig.FileName} nor {LayerFile.FileName}");
        }
        return new(folder, subject, rows.Rows, reference.Unused);
    }
}
