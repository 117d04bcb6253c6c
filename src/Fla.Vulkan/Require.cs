using System.Diagnostics.CodeAnalysis;

namespace Fla.Vulkan;

/// <summary>Checks of operator arguments.</summary>
internal static class Require
{
    /// <exception cref="DeviceException">Two tensors live on different devices.</exception>
    public static void SameDevice(params ReadOnlySpan<Tensor?> tensors)
    {
        ComputeDevice? device = null;
        foreach (var tensor in tensors)
        {
            if (tensor is null) continue;
            device ??= tensor.Device;
            if (tensor.Device != device) throw new DeviceException($"tensors of two devices in one operation: {device.Name} and {tensor.Device.Name}");
        }
    }

    /// <exception cref="ShapeException">The tensor has another number of axes.</exception>
    public static void Rank(Tensor tensor, int rank, string name)
    {
        if (tensor.Rank != rank) throw new ShapeException($"{name} needs {rank} axes, it is {tensor.Describe()}");
    }

    /// <exception cref="DTypeException">The tensor holds integers.</exception>
    public static void Float(Tensor? tensor, string name)
    {
        if (tensor is { } t && !t.DType.IsFloat()) throw new DTypeException($"{name} needs a float type, it is {t.Describe()}");
    }

    /// <exception cref="DTypeException">The tensor has another element type.</exception>
    public static void Type(Tensor? tensor, DType type, string name)
    {
        if (tensor is { } t && t.DType != type) throw new DTypeException($"{name} needs {type.ShortName()}, it is {t.Describe()}");
    }

    /// <exception cref="ShapeException">The tensor has another shape.</exception>
    public static void Shape(Tensor? tensor, string name, params ReadOnlySpan<int> shape)
    {
        if (tensor is { } t && !t.HasShape(shape)) throw new ShapeException($"{name} needs the shape [{string.Join(", ", shape.ToArray())}], it is {t.Describe()}");
    }

    /// <exception cref="ShapeException">The condition does not hold.</exception>
    public static void That([DoesNotReturnIf(false)] bool condition, string message)
    {
        if (!condition) throw new ShapeException(message);
    }
}
