using Fla.Testing.References;

namespace Fla.Vulkan.Tests.Ops.Nn;

/// <summary>Reference inputs as a device stores them, and how close to a reference a storage type must come.</summary>
internal static class StorageTypes
{
    public static readonly DType[] Floats = [DType.Float32, DType.Float16, DType.BFloat16];

    /// <summary>The values rounded as the type stores them.</summary>
    public static RefTensor Stored(this RefTensor x, DType type) => type switch
    {
        DType.Float16 => x.RoundToHalf(),
        DType.BFloat16 => x.RoundToBFloat16(),
        _ => x,
    };

    /// <summary>The values on a device.</summary>
    public static Tensor Upload(this RefTensor x, ComputeDevice device, DType type = DType.Float32, bool requiresGrad = false)
    {
        var tensor = Tensor.From(device, x.ToFloats(), x.Shape, type);
        tensor.RequiresGrad = requiresGrad;
        return tensor;
    }

    /// <summary>Bound of the error ratio of outputs.</summary>
    public static double Tolerance(this DType type) => type switch
    {
        DType.Float16 => 5e-3,
        DType.BFloat16 => 2e-2,
        _ => 1e-5,
    };

    /// <summary>Bound of the error ratio of gradients.</summary>
    public static double GradientTolerance(this DType type) => type switch
    {
        DType.Float16 => 1e-2,
        DType.BFloat16 => 3e-2,
        _ => 1e-4,
    };
}
