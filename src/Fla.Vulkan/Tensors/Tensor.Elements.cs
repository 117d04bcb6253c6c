namespace Fla.Vulkan;

public sealed partial class Tensor
{
    private const int CastWorkgroup = 256;
    private const int CastPerInvocation = 4;

    private static readonly Kernel<CastArgs> Cast = new("tensor/cast");

    /// <summary>From here on a kernel copies: drivers' own copies reach a fifth of the memory's rate on some devices, but start sooner.</summary>
    private const long CopyKernelBytes = 4 << 20;

    private static readonly Kernel<CopyArgs> Copy = new("tensor/copy");

    private readonly record struct CopyArgs(In Source, Out Target, uint Runs);

    private readonly record struct CastArgs(In Source, InOut Target, uint Count, uint SourceType, uint TargetType, uint Mode, float Scale);

    /// <summary>Sets all bytes to zero.</summary>
    public void Zero()
    {
        if (Count == 0) return;
        Storage.Version++;
        if (_offset % 4 == 0 && ByteCount % 4 == 0) Device.Stream.FillBytes(Storage, Storage.Offset + Storage.Lead + _offset, (ulong)ByteCount, 0);
        else RunCast(null, CastMode.Fill, 0);
    }

    /// <summary>Sets every element of a float tensor to a value.</summary>
    /// <exception cref="DTypeException">The elements are integers.</exception>
    public void Fill(float value)
    {
        Storage.Version++;
        RunCast(null, CastMode.Fill, value);
    }

    /// <summary>Overwrites the elements with another tensor's, converting between float types.</summary>
    /// <exception cref="ShapeException">The element counts differ.</exception>
    public void CopyFrom(Tensor source)
    {
        Require.SameDevice(this, source);
        if (source.Count != Count) throw new ShapeException($"a tensor {source.Describe()} cannot be copied to {Describe()}");
        Storage.Version++;
        if (source.DType == DType && ByteCount >= CopyKernelBytes && ByteCount % 16 == 0 && source.Address % 16 == 0 && Address % 16 == 0
            && !ReferenceEquals(source.Storage, Storage) && ByteCount / 16 <= uint.MaxValue / 2)
        {
            var runs = ByteCount / 16;
            Copy.Launch(Device, new(source, this, (uint)runs), Grid.Over(runs, CastWorkgroup * CastPerInvocation), null, CastWorkgroup);
        }
        else if (source.DType == DType) Device.Stream.CopyBytes(source.Storage, source._offset, Storage, _offset, (ulong)ByteCount);
        else RunCast(source, CastMode.Copy, 1);
    }

    /// <summary>Adds another tensor's elements, times a factor, to this tensor's.</summary>
    /// <exception cref="ShapeException">The element counts differ.</exception>
    public void Accumulate(Tensor source, float scale = 1)
    {
        Require.SameDevice(this, source);
        if (source.Count != Count) throw new ShapeException($"a tensor {source.Describe()} cannot be added to {Describe()}");
        Storage.Version++;
        RunCast(source, CastMode.Add, scale);
    }

    /// <summary>A copy with its own memory.</summary>
    public Tensor Clone()
    {
        var copy = EmptyLike(this);
        copy.CopyFrom(this);
        if (Autograd.IsRecording(this)) Autograd.Record("clone", [this], [copy], [], static (_, dy) => [dy[0]?.Clone()]);
        return copy;
    }

    /// <summary>The same values in another float type; the tensor's alias when it has that type already.</summary>
    /// <exception cref="DTypeException">One of the types is an integer.</exception>
    public Tensor To(DType type)
    {
        if (type == DType) return View(_shape);
        var result = EmptyLike(this, type);
        result.CopyFrom(this);
        if (Autograd.IsRecording(this))
        {
            Autograd.Record("to", [this], [result], [], static (ctx, dy) => [dy[0]?.To(ctx.State<DType>())], DType);
        }
        return result;
    }

    /// <summary>The same elements under another shape, sharing memory. One size may be -1 and follows from the others.</summary>
    /// <exception cref="ShapeException">The element counts differ.</exception>
    public Tensor View(params ReadOnlySpan<int> shape)
    {
        var sizes = shape.ToArray();
        var open = Array.IndexOf(sizes, -1);
        if (open >= 0)
        {
            sizes[open] = 1;
            var rest = CountOf(sizes);
            sizes[open] = rest > 0 && Count % rest == 0 ? (int)(Count / rest) : -1;
        }
        if (sizes.Any(s => s < 0) || CountOf(sizes) != Count) throw new ShapeException($"a tensor {Describe()} cannot be viewed as [{string.Join(", ", shape.ToArray())}]");
        var view = new Tensor(Device, DType, sizes, Storage.Retain(), _offset);
        if (Autograd.IsRecording(this))
        {
            Autograd.Record("view", [this], [view], [], static (ctx, dy) => [dy[0]?.View(ctx.State<int[]>())], _shape);
        }
        return view;
    }

    /// <summary>Rows <paramref name="start"/> to <paramref name="start"/> + <paramref name="length"/> of the first axis, sharing memory.</summary>
    /// <exception cref="ShapeException">There are not so many rows.</exception>
    public Tensor Narrow(int start, int length)
    {
        if (Rank == 0 || start < 0 || length < 0 || (long)start + length > _shape[0]) throw new ShapeException($"a tensor {Describe()} has no rows {start} to {(long)start + length}");
        int[] shape = [length, .. _shape[1..]];
        var row = Count / Math.Max(1, _shape[0]);
        var view = new Tensor(Device, DType, shape, Storage.Retain(), _offset + (ulong)(row * start * DType.Size()));
        if (Autograd.IsRecording(this))
        {
            Autograd.Record("narrow", [this], [view], [], static (ctx, dy) =>
            {
                var (shape, start) = ctx.State<(int[], int)>();
                if (dy[0] is not { } d) return [null];
                var dx = Zeros(d.Device, d.DType, shape);
                using var rows = dx.Narrow(start, d.Size(0));
                rows.CopyFrom(d);
                return [dx];
            }, (_shape, start));
        }
        return view;
    }

    private enum CastMode : uint
    {
        Copy,
        Add,
        Fill,
    }

    private void RunCast(Tensor? source, CastMode mode, float scale)
    {
        static uint Code(Tensor t) => t.DType switch
        {
            DType.Float32 => 0,
            DType.Float16 => 1,
            DType.BFloat16 => 2,
            _ => throw new DTypeException($"float arithmetic on a tensor {t.Describe()}"),
        };
        if (Count > uint.MaxValue) throw new ShapeException($"a tensor {Describe()} has too many elements for one conversion");
        Cast.Launch(Device, new(source, this, (uint)Count, source is null ? 0 : Code(source), Code(this), (uint)mode, scale),
            Grid.Over(Count, CastWorkgroup * CastPerInvocation), null, CastWorkgroup);
    }
}
