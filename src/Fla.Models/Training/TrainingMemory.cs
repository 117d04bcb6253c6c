using Fla.Models.Configs;
using Fla.Vulkan;

namespace Fla.Models.Training;

/// <summary>
/// Device memory that a training run will take, in bytes, found by going through its first step and an evaluation with tensors that have no memory
/// (<see cref="ComputeStream.Rehearse"/>): of any model and any options, without a formula for either.
/// </summary>
/// <param name="Teacher">The teacher's parameters.</param>
/// <param name="Parameters">The model's.</param>
/// <param name="Optimizer">Moments, exact copies of half-precision parameters, and the batch.</param>
/// <param name="Gradients">Gradients of all parameters.</param>
/// <param name="Activations">What a forward pass keeps for its backward pass.</param>
/// <param name="Peak">The most that tensors use at once; less than the sum, because activations go as gradients come, or more, by passing results.</param>
/// <param name="Held">The most that is held from the driver at once, with gaps between tensors: what has to be there.</param>
public sealed record TrainingMemory(long Teacher, long Parameters, long Optimizer, long Gradients, long Activations, long Peak, long Held)
{
    /// <summary>Passing results beyond the parts above.</summary>
    public long Workspace => Math.Max(0, Peak - Teacher - Parameters - Optimizer - Gradients - Activations);

    /// <summary>Goes through a run's first step.</summary>
    /// <param name="device">Where it would run.</param>
    /// <param name="config">The model.</param>
    /// <param name="dtype">Its float type.</param>
    /// <param name="options">How it is trained; the teacher in them counts as there already.</param>
    /// <param name="teacher">A teacher that is still to be loaded; null for none.</param>
    /// <exception cref="ConfigException">A configuration asks for a layer that is not implemented.</exception>
    /// <exception cref="TrainingException">An option is out of range.</exception>
    /// <exception cref="GpuOutOfMemoryException">One tensor is larger than any allocation of the device.</exception>
    public static TrainingMemory Predict(ComputeDevice device, ModelConfig config, DType dtype, TrainerOptions options, ModelConfig? teacher = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        long teacherBytes = 0, parameters = 0, optimizer = 0, gradients = 0, activations = 0;
        Rehearse((trainer, memory) => activations = trainer.RehearseForward(memory));
        var memory = Rehearse((trainer, _) => trainer.RehearseStep());
        return new(teacherBytes, parameters, optimizer, gradients, activations, memory.Peak, memory.PeakHeld);

        MemoryStatistics Rehearse(Action<Trainer, MemoryStatistics> work) => device.Stream.Rehearse(memory =>
        {
            using var scope = device.Scope();
            using var teaching = teacher == null ? null : CausalLM.CreateEmpty(device, teacher, dtype);
            teacherBytes = memory.Used;
            using var model = CausalLM.CreateEmpty(device, config, dtype);
            parameters = memory.Used - teacherBytes;
            using var trainer = new Trainer(model, teaching == null ? options : options with { Loss = options.Loss with { Teacher = teaching } });
            optimizer = memory.Used - teacherBytes - parameters;
            gradients = Trainer.SumsExactly(dtype, options) ? model.ParameterCount * sizeof(float) : model.Parameters().Sum(p => p.ByteCount);
            work(trainer, memory);
        });
    }

    /// <summary>Predicts, and refuses a run that the device has no memory for.</summary>
    /// <param name="device">Where it would run.</param>
    /// <param name="config">The model.</param>
    /// <param name="dtype">Its float type.</param>
    /// <param name="options">How it is trained.</param>
    /// <param name="teacher">A teacher that is still to be loaded; null for none.</param>
    /// <exception cref="TrainingMemoryException">It does not fit; names the largest batch that does.</exception>
    public static TrainingMemory Require(ComputeDevice device, ModelConfig config, DType dtype, TrainerOptions options, ModelConfig? teacher = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(options);
        var available = device.AvailableMemory;
        if (TryPredict(options.BatchSize, options.UsesGradientCheckpointing) is { } fits) return fits;
        var needed = Needed();
        var largest = Largest(options.UsesGradientCheckpointing);
        var withCheckpointing = options.UsesGradientCheckpointing ? null : Largest(isCheckpointed: true);
        throw new TrainingMemoryException(device.Name, options.BatchSize, needed, available, largest, withCheckpointing);

        TrainingMemory? TryPredict(int batch, bool isCheckpointed)
        {
            try
            {
                // A smaller batch has fewer sequences, too.
                var sequences = (int)Math.Ceiling((double)options.MaxSequences * batch / options.BatchSize);
                var memory = Predict(device, config, dtype, options with { BatchSize = batch, MaxSequences = sequences, UsesGradientCheckpointing = isCheckpointed }, teacher);
                return memory.Fits(device, available) ? memory : null;
            }
            catch (Exception error) when (IsTooLarge(error, batch))
            {
                return null;
            }
        }

        long? Needed()
        {
            try { return Predict(device, config, dtype, options, teacher).Held; }
            catch (Exception error) when (IsTooLarge(error, options.BatchSize)) { return null; }
        }

        // Operators refuse tensors of more elements than they can count; with a single window a shape is wrong for another reason.
        static bool IsTooLarge(Exception error, int batch) => error is GpuOutOfMemoryException || (error is ShapeException && batch > 1);

        int? Largest(bool isCheckpointed)
        {
            var (fits, tooLarge) = (0, options.BatchSize + (isCheckpointed == options.UsesGradientCheckpointing ? 0 : 1));
            while (tooLarge - fits > 1)
            {
                var middle = fits + (tooLarge - fits) / 2;
                if (TryPredict(middle, isCheckpointed) != null) fits = middle;
                else tooLarge = middle;
            }
            return fits == 0 ? null : fits;
        }
    }

    /// <summary>A limit on tensors counts what they use; all else is asked from the driver, gaps included.</summary>
    private bool Fits(ComputeDevice device, long available) => (device.Options.MemoryLimit > 0 ? Peak : Held) <= available;
}

/// <summary>A training run that the device has no memory for.</summary>
/// <param name="device">The device.</param>
/// <param name="batchSize">Windows in a forward pass that were asked for.</param>
/// <param name="needed">Bytes that they take; null when one tensor alone is too large for the device.</param>
/// <param name="available">Bytes that are there.</param>
/// <param name="largestBatch">The largest batch that fits; null when none does.</param>
/// <param name="largestCheckpointedBatch">The largest that fits with activation checkpointing, where it was not asked for; null when none does.</param>
public sealed class TrainingMemoryException(string device, int batchSize, long? needed, long available, int? largestBatch, int? largestCheckpointedBatch)
    : TrainingException(Describe(device, batchSize, needed, available, largestBatch, largestCheckpointedBatch))
{
    /// <summary>Bytes that the run takes; null when one tensor alone is too large for the device.</summary>
    public long? Needed { get; } = needed;

    /// <summary>Bytes that are there.</summary>
    public long Available { get; } = available;

    /// <summary>The largest batch that fits; null when none does.</summary>
    public int? LargestBatch { get; } = largestBatch;

    /// <summary>The largest batch that fits with activation checkpointing, where it was not asked for; null when none does.</summary>
    public int? LargestCheckpointedBatch { get; } = largestCheckpointedBatch;

    private static string Describe(string device, int batchSize, long? needed, long available, int? largest, int? checkpointed)
    {
        var need = needed is { } bytes ? $"a batch of {batchSize} takes {bytes / 1e9:0.00} GB" : $"a batch of {batchSize} has a tensor larger than one allocation may be";
        var fits = largest is { } batch ? $"the largest batch that fits is {batch}" : "not even a batch of 1 fits";
        return $"{need}, {device} has {available / 1e9:0.00} GB: {fits}{(checkpointed is { } more ? $", with activation checkpointing {more}" : "")}";
    }
}
