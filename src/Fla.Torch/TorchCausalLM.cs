using Fla.Layers;
using Fla.Models;
using Fla.Models.Configs;
using Fla.Vulkan;
using TorchSharp;
using static TorchSharp.torch;
using DeviceTensor = Fla.Vulkan.Tensor;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch;

/// <summary>
/// A language model of any family as a TorchSharp module, for fine-tuning with TorchSharp's optimizers and beside its modules: token ids cross to the device, logits
/// or a loss come back, and the gradients of all parameters. A training that needs nothing of TorchSharp is faster with
/// <see cref="Fla.Models.Training.Trainer"/>, whose weights never leave the device.
/// </summary>
public sealed class TorchCausalLM : nn.Module<Tensor, Tensor>
{
    private readonly DeviceModule<CausalLM> _model;

    /// <summary>A model with fresh weights, drawn with PyTorch's generator.</summary>
    /// <param name="config">Family and sizes.</param>
    /// <param name="dtype">Float type of weights and activations.</param>
    /// <exception cref="ConfigException">A field is out of range, or asks for a layer that is not implemented.</exception>
    /// <exception cref="LibTorchException">libtorch cannot be loaded.</exception>
    public TorchCausalLM(ModelConfig config, ScalarType dtype = ScalarType.Float32)
        : this(null, (device, type) => CausalLM.CreateEmpty(device, config, type), model => model.Initialize(new Initializer(LibTorch.Seed(), config.InitializerRange)), dtype)
    {
    }

    private TorchCausalLM(CausalLM? loaded, Func<ComputeDevice, DType, CausalLM> create, Action<CausalLM>? fill, ScalarType dtype)
        : base(LibTorch.Name(typeof(CausalLM))) =>
        _model = new(this, (device, type) => Interlocked.Exchange(ref loaded, null) ?? create(device, type), dtype, fill);

    /// <summary>The configuration.</summary>
    public ModelConfig config => _model.Module.Config;

    /// <summary>Whether blocks are recomputed in the backward pass instead of kept; only in training mode.</summary>
    public bool gradient_checkpointing { get; set; }

    /// <summary>Loads a model folder of fla or of this library (config.json; model.safetensors, pytorch_model.bin, or shards of either).</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="dtype">Float type of weights and activations; null for that of the file.</param>
    /// <exception cref="Fla.Models.Checkpoints.CheckpointException">A malformed file; keys that are missing, too many, or of another shape than the configuration's.</exception>
    public static TorchCausalLM from_pretrained(string folder, ScalarType? dtype = null)
    {
        LibTorch.Require();
        var model = CausalLM.FromPretrained(folder, TorchDevice.Current, dtype is null ? null : Crossing.TypeOf(dtype.Value));
        // A file may hold a head of its own although its configuration ties it: that is what a conversion makes again.
        model.Config.TieWordEmbeddings = model.IsHeadTied;
        var config = model.Config;
        return new(model, (device, type) => CausalLM.CreateEmpty(device, config, type), null, Crossing.TypeOf(model.DType));
    }

    /// <summary>Saves the model for fla and for this library: config.json, and model.safetensors or shards.</summary>
    /// <param name="folder">Created when missing; files of an earlier save are replaced.</param>
    public void save_pretrained(string folder)
    {
        _model.Synchronize();
        _model.Module.SavePretrained(folder);
    }

    /// <summary>The logits of all positions.</summary>
    /// <param name="input">Token ids, int32 or int64 [B, T].</param>
    /// <returns>[B, T, V].</returns>
    /// <exception cref="TokenIdException">An id is not in the vocabulary.</exception>
    public override Tensor forward(Tensor input) => forward(input, attention_mask: null);

    /// <summary>As the other form, of a padded or packed batch.</summary>
    /// <param name="input_ids">Token ids, int32 or int64 [B, T].</param>
    /// <param name="attention_mask">[B, T], zero at padding; or null.</param>
    /// <param name="cu_seqlens">Boundaries of sequences packed into one row, int32 or int64 [N + 1]; or null.</param>
    /// <returns>[B, T, V].</returns>
    /// <exception cref="TokenIdException">An id is not in the vocabulary.</exception>
    public Tensor forward(Tensor input_ids, Tensor? attention_mask = null, Tensor? cu_seqlens = null)
    {
        CheckIds(input_ids);
        var mask = MaskValues.Of(attention_mask);
        return _model.Run([input_ids], (model, inputs, call) => [Forward(model, call, mask, inputs[0]!, null).Logits], cu_seqlens)[0]!;
    }

    /// <summary>The mean cross entropy of every next token; the logits stay on the device.</summary>
    /// <param name="input_ids">Token ids, int32 or int64 [B, T].</param>
    /// <param name="labels">As the ids, which they usually are; -100 counts for nothing. They are shifted here.</param>
    /// <param name="attention_mask">[B, T], zero at padding; or null.</param>
    /// <param name="cu_seqlens">Boundaries of sequences packed into one row, int32 or int64 [N + 1]; or null.</param>
    /// <returns>A scalar in float32.</returns>
    /// <exception cref="TokenIdException">An id or label is not in the vocabulary.</exception>
    public Tensor loss(Tensor input_ids, Tensor labels, Tensor? attention_mask = null, Tensor? cu_seqlens = null)
    {
        CheckIds(input_ids);
        CheckIds(labels, -100);
        var mask = MaskValues.Of(attention_mask);
        return _model.Run([input_ids, labels], (model, inputs, call) => [Forward(model, call, mask, inputs[0]!, inputs[1]).Loss], cu_seqlens)[0]!;
    }

    /// <inheritdoc/>
    public override void train(bool train = true)
    {
        base.train(train);
        _model.Train(train);
    }

    /// <inheritdoc/>
    public override Dictionary<string, Tensor> state_dict(Dictionary<string, Tensor>? destination = null, string? prefix = null) =>
        _model.AddAliases(base.state_dict(destination, prefix), prefix);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        // Also for a module that was forgotten: what it holds on the device, the collector does not see. null when the constructor threw.
        _model?.Dispose();
        base.Dispose(disposing);
    }

    private ModelOutput Forward(CausalLM model, TorchCall call, MaskValues? mask, DeviceTensor ids, DeviceTensor? labels)
    {
        model.UsesGradientCheckpointing = gradient_checkpointing;
        return model.Forward(ids, new() { Labels = labels, Mask = mask?.On(_model.Device, call), CuSeqlens = call.CuSeqlens });
    }

    /// <summary>The device reads what an id names, so each has to name something.</summary>
    private void CheckIds(Tensor ids, long? ignored = null)
    {
        if (ids.dtype is not (ScalarType.Int32 or ScalarType.Int64)) throw new DTypeException($"token ids are int32 or int64, not {ids.dtype}");
        if (ids.numel() == 0) return;
        using var grad = torch.no_grad();
        using var wide = ids.to(ScalarType.Int64);
        using var dense = wide.contiguous();
        var position = 0;
        foreach (var id in dense.data<long>())
        {
            if ((id < 0 || id >= config.VocabSize) && id != ignored) throw new TokenIdException((int)Math.Clamp(id, int.MinValue, int.MaxValue), position, config.VocabSize);
            position++;
        }
    }
}
