using Fla.Vulkan;
using Fla.Vulkan.Ops;
using TorchSharp;
using static TorchSharp.torch;
using DeviceTensor = Fla.Vulkan.Tensor;
using Tensor = TorchSharp.torch.Tensor;

namespace Fla.Torch;

/// <summary>From tensors on the device to tensors on the device, null where an optional one is missing.</summary>
internal delegate DeviceTensor?[] DeviceFunction(DeviceTensor?[] inputs, TorchCall call);

/// <summary>
/// One call of a device function on TorchSharp tensors: inputs up, results down, and in between one entry in PyTorch's graph however many
/// operators ran. The device's tape is used up by the first backward pass; another one (retain_graph) runs the function again.
/// </summary>
internal sealed class TorchCall
{
    private readonly ComputeDevice _device;
    private readonly DeviceFunction _function;
    private readonly ParameterSet? _parameters;
    private GradEdge[] _edges = [];
    private int[] _edgeOutputs = [];
    private GradLeaf?[] _leaves = [];
    private readonly int[]? _boundaries;
    private readonly List<IDisposable> _owned = [];
    private bool _isEmpty;

    private TorchCall(string name, ComputeDevice device, DeviceFunction function, ParameterSet? parameters, int[]? boundaries, bool[] needs) =>
        (Name, _device, _function, _parameters, _boundaries, Needs) = (name, device, function, parameters, boundaries, needs);

    ~TorchCall() => Release();

    /// <summary>The function's name, for messages.</summary>
    public string Name { get; }

    /// <summary>Which inputs and parameters want a gradient; empty when nothing is recorded.</summary>
    public bool[] Needs { get; }

    /// <summary>Boundaries of packed sequences, or null.</summary>
    public CuSeqlens? CuSeqlens { get; private set; }

    /// <summary>Keeps something until the backward pass is done.</summary>
    /// <returns>What was given.</returns>
    public T Own<T>(T resource)
        where T : IDisposable
    {
        _owned.Add(resource);
        return resource;
    }

    /// <summary>Runs a function.</summary>
    /// <param name="name">Its name, for messages.</param>
    /// <param name="device">Where it runs.</param>
    /// <param name="inputs">What crosses, any strides; null where an optional one is missing.</param>
    /// <param name="function">The work.</param>
    /// <param name="parameters">Tensors that stay on the device and receive gradients.</param>
    /// <param name="cuSeqlens">Boundaries of packed sequences, int32 or int64 [N + 1]; or null.</param>
    /// <returns>The results, null where the function gave none; with a history if anything requires a gradient.</returns>
    public static Tensor?[] Run(string name, ComputeDevice device, Tensor?[] inputs, DeviceFunction function, ParameterSet? parameters = null,
        Tensor? cuSeqlens = null)
    {
        LibTorch.Require();
        Leftovers.Dispose();
        var hosts = parameters?.Synchronize() ?? [];
        var needs = inputs.Concat(hosts).Select(t => t is { requires_grad: true }).ToArray();
        var call = new TorchCall(name, device, function, parameters, Crossing.Integers(cuSeqlens), torch.is_grad_enabled() && needs.Contains(true) ? needs : []);
        var (outputs, isMade) = call.ForwardOrCollect(inputs);
        if (call.HasTape)
        {
            // PyTorch takes a leaf's gradient as it is when nobody else refers to it, and else copies it. TorchSharp refers to what backward gave; behind a view of
            // the leaf, what arrives is another tensor over the same memory.
            var views = inputs.Concat(hosts).Select((t, i) => needs[i] && t!.is_leaf ? t.view(t.shape) : null).ToArray();
            var given = outputs;
            outputs = [.. TapeFunction.apply([.. inputs.Concat(hosts).Select((t, i) => views[i] ?? t).Append<object?>(new TapeState(call, given))!])];
            foreach (var tensor in given.Concat(views)) tensor?.Dispose();
        }
        else call.Release();
        var next = 0;
        return [.. isMade.Select(made => made ? outputs[next++] : null)];
    }

    /// <summary>The gradients of the inputs and parameters, null where none flows or is wanted.</summary>
    /// <param name="gradients">Those of the results; invalid where none flows.</param>
    /// <param name="saved">Gives the inputs and parameters again, unless they were overwritten since.</param>
    public Tensor?[] Backward(IReadOnlyList<Tensor?> gradients, Func<IReadOnlyList<Tensor?>> saved)
    {
        if (_isEmpty || !HasTape)
        {
            var again = saved();
            try
            {
                using var grad = torch.no_grad();
                if (_isEmpty) return [.. again.Select((t, i) => Needs[i] ? torch.zeros_like(t!) : null)];
                _parameters?.Synchronize();
                foreach (var output in Forward([.. again.Take(again.Count - (_parameters?.Count ?? 0))]).Outputs) output.Dispose();
            }
            finally
            {
                foreach (var tensor in again) tensor?.Dispose();
            }
        }
        using var scope = new TensorScope();
        try
        {
            var flowing = Enumerable.Range(0, _edges.Length).Where(i => gradients[_edgeOutputs[i]] is { IsInvalid: false }).ToArray();
            var given = flowing.Select(i => Crossing.Upload(_device, gradients[_edgeOutputs[i]]!)).ToArray();
            var wanted = Enumerable.Range(0, _leaves.Length).Where(i => _leaves[i] != null).ToArray();
            var results = new Tensor?[Needs.Length];
            if (flowing.Length == 0) return results;
            var found = Autograd.Grad(flowing.Select(i => _edges[i]).ToArray(), given, wanted.Select(i => _leaves[i]!).ToArray());
            var there = Enumerable.Range(0, wanted.Length).Where(i => found[i] != null).ToArray();
            var host = Crossing.Download([.. there.Select(i => found[i]!)]);
            for (var i = 0; i < there.Length; i++) results[wanted[there[i]]] = host[i];
            return results;
        }
        finally
        {
            Release();
        }
    }

    private bool HasTape => _isEmpty || _edges.Length > 0;

    /// <summary>Tensors and histories that nobody refers to hold device memory until they are collected: when it is short, that is now.</summary>
    private (Tensor[] Outputs, bool[] IsMade) ForwardOrCollect(Tensor?[] inputs)
    {
        try
        {
            return Forward(inputs);
        }
        catch (GpuOutOfMemoryException)
        {
            // A tensor's finalizer frees PyTorch's node, and only then the node's state can be collected.
            for (var round = 0; round < 2; round++)
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
            }
            return Forward(inputs);
        }
    }

    private (Tensor[] Outputs, bool[] IsMade) Forward(Tensor?[] inputs)
    {
        using var scope = new TensorScope();
        var isEmpty = inputs.Any(IsEmptyBatch);
        _isEmpty = isEmpty && Needs.Length > 0;
        var isRecorded = Needs.Length > 0 && !isEmpty;
        using var mode = isRecorded ? Autograd.EnableGrad() : Autograd.NoGrad();
        var crossed = inputs.Select(t => t is null ? null : IsEmptyBatch(t) ? OneOf(t) : Crossing.Upload(_device, t)).ToArray();
        if (isRecorded)
        {
            for (var i = 0; i < crossed.Length; i++)
            {
                if (Needs[i]) crossed[i]!.RequiresGrad = true;
            }
            _leaves = [.. crossed.Select(t => t?.Edge.Leaf), .. _parameters?.Leaves ?? []];
        }
        CuSeqlens = _boundaries is null ? null : Own(new CuSeqlens(_device, _boundaries));
        var results = _function(crossed, this);
        var made = results.OfType<DeviceTensor>().ToArray();
        var isMade = Array.ConvertAll(results, r => r != null);
        if (isEmpty) return ([.. made.Select(EmptyLike)], isMade);
        var outputs = Crossing.Download(made);
        if (isRecorded)
        {
            _edgeOutputs = [.. Enumerable.Range(0, made.Length).Where(i => made[i].RequiresGrad)];
            _edges = [.. _edgeOutputs.Select(i => made[i].Edge)];
            foreach (var edge in _edges) edge.Node?.Retain();
        }
        return (outputs, isMade);
    }

    /// <summary>Whether an output depends on something that requires a gradient.</summary>
    private bool IsDifferentiable(int output) => _isEmpty || _edgeOutputs.Contains(output);

    private void Release()
    {
        foreach (var edge in _edges)
        {
            if (edge.Node is { } node) GradNode.Release(node);
        }
        (_edges, _leaves) = ([], []);
        foreach (var resource in _owned) resource.Dispose();
        _owned.Clear();
    }

    private static bool IsEmptyBatch(Tensor? tensor) => tensor is { ndim: > 0 } && tensor.shape[0] == 0;

    /// <summary>One row of zeros in place of an empty batch, so that the function can tell the results' shapes.</summary>
    private DeviceTensor OneOf(Tensor tensor) =>
        DeviceTensor.Zeros(_device, Crossing.TypeOf(tensor.dtype), [1, .. tensor.shape.Skip(1).Select(size => checked((int)size))]);

    private static Tensor EmptyLike(DeviceTensor tensor)
    {
        var shape = Array.ConvertAll(tensor.Shape.ToArray(), size => (long)size);
        if (shape.Length > 0) shape[0] = 0;
        return torch.zeros(shape, dtype: Crossing.TypeOf(tensor.DType));
    }

    /// <summary>What PyTorch's node carries.</summary>
    internal sealed record TapeState(TorchCall Call, Tensor[] Outputs)
    {
        /// <summary>Results that no gradient flows through.</summary>
        public List<Tensor> NonDifferentiable => [.. Outputs.Where((_, i) => !Call.IsDifferentiable(i))];
    }
}
