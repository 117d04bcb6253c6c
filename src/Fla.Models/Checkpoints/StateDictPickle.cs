using System.Buffers.Binary;
using System.Text;

namespace Fla.Models.Checkpoints;

/// <summary>A tensor as a pickle describes it: a view of a storage.</summary>
/// <param name="Type">Element type of the storage.</param>
/// <param name="Storage">Name of the storage.</param>
/// <param name="StorageElements">Elements of the storage.</param>
/// <param name="First">First element of the tensor there.</param>
/// <param name="Shape">Sizes of the axes.</param>
/// <param name="Strides">Steps of the axes, in elements.</param>
internal sealed record PickledTensor(StoredType Type, string Storage, long StorageElements, long First, long[] Shape, long[] Strides);

/// <summary>
/// Reads the pickle of a state dict: names and tensors. A pickle is a program that may call anything; this reads those that build dicts of tensors and
/// refuses every other by the name of what it asks for. Nothing is imported, made or called.
/// </summary>
internal sealed class StateDictPickle
{
    private const string StorageModule = "torch.";

    private static readonly Dictionary<string, StoredType> Storages = new(StringComparer.Ordinal)
    {
        ["torch.BoolStorage"] = StoredType.Bool, ["torch.ByteStorage"] = StoredType.UInt8, ["torch.CharStorage"] = StoredType.Int8, ["torch.ShortStorage"] = StoredType.Int16,
        ["torch.HalfStorage"] = StoredType.Float16, ["torch.BFloat16Storage"] = StoredType.BFloat16, ["torch.IntStorage"] = StoredType.Int32,
        ["torch.FloatStorage"] = StoredType.Float32, ["torch.DoubleStorage"] = StoredType.Float64, ["torch.LongStorage"] = StoredType.Int64,
    };

    private static readonly string[] Functions = ["collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"];

    private readonly byte[] _bytes;
    private readonly string _path;
    private readonly List<object?> _stack = [];
    private readonly Stack<int> _marks = new();
    private readonly Dictionary<long, object?> _memo = [];
    private int _position;

    private StateDictPickle(byte[] bytes, string path) => (_bytes, _path) = (bytes, path);

    /// <summary>The class of torch that stores a type.</summary>
    public static string StorageName(StoredType type) =>
        Storages.FirstOrDefault(storage => storage.Value == type).Key?[StorageModule.Length..]
        ?? throw new ArgumentOutOfRangeException(nameof(type));

    /// <summary>The named tensors, in the pickle's order.</summary>
    /// <exception cref="CheckpointException">Malformed, or more than a dict of tensors; the message names what.</exception>
    public static IReadOnlyList<KeyValuePair<string, PickledTensor>> Read(byte[] bytes, string path)
    {
        var pickle = new StateDictPickle(bytes, path);
        if (pickle.Run() is not Dict dict)
        {
            throw new CheckpointException("holds no dict of tensors: save module.state_dict()", path);
        }

        var tensors = new List<KeyValuePair<string, PickledTensor>>();
        foreach (var (name, value) in dict.Entries)
        {
            tensors.Add(value is PickledTensor tensor ? new(name, tensor) : throw new CheckpointException($"is {Describe(value)}, not a tensor: save a state dict by itself", path, name));
        }

        return tensors;
    }

    private object? Run()
    {
        while (true)
        {
            switch ((char)Byte())
            {
                case '\x80': // PROTO
                    if (Byte() is 0 or > 5)
                    {
                        throw Malformed();
                    }

                    break;
                case '\x95': // FRAME
                    Take(8);
                    break;
                case '.':
                    return _stack.Count == 1 && _marks.Count == 0 ? _stack[0] : throw Malformed();
                case '(':
                    _marks.Push(_stack.Count);
                    break;
                case 'N':
                    Push(null);
                    break;
                case '\x88':
                    Push(true);
                    break;
                case '\x89':
                    Push(false);
                    break;
                case 'J':
                    Push((long)BinaryPrimitives.ReadInt32LittleEndian(Take(4)));
                    break;
                case 'K':
                    Push((long)Byte());
                    break;
                case 'M':
                    Push((long)BinaryPrimitives.ReadUInt16LittleEndian(Take(2)));
                    break;
                case '\x8a': // LONG1
                    Push(Long(Take(Byte())));
                    break;
                case 'G':
                    Push(BinaryPrimitives.ReadDoubleBigEndian(Take(8)));
                    break;
                case 'X':
                    Push(Text(BinaryPrimitives.ReadUInt32LittleEndian(Take(4))));
                    break;
                case '\x8c': // SHORT_BINUNICODE
                    Push(Text(Byte()));
                    break;
                case '}':
                    Push(new Dict());
                    break;
                case ']':
                    Push(new List<object?>());
                    break;
                case ')':
                    Push(Array.Empty<object?>());
                    break;
                case 't':
                    Push(PopToMark());
                    break;
                case '\x85' or '\x86' or '\x87': // TUPLE1 to TUPLE3
                    Push(PopMany(_bytes[_position - 1] - 0x84));
                    break;
                case 'a':
                    Append(PopMany(1));
                    break;
                case 'e':
                    Append(PopToMark());
                    break;
                case 's':
                    SetItems(PopMany(2));
                    break;
                case 'u':
                    SetItems(PopToMark());
                    break;
                case 'q':
                    _memo[Byte()] = Top();
                    break;
                case 'r':
                    _memo[BinaryPrimitives.ReadUInt32LittleEndian(Take(4))] = Top();
                    break;
                case '\x94': // MEMOIZE
                    _memo[_memo.Count] = Top();
                    break;
                case 'h':
                    Push(Recall(Byte()));
                    break;
                case 'j':
                    Push(Recall(BinaryPrimitives.ReadUInt32LittleEndian(Take(4))));
                    break;
                case 'c':
                    Push(Named(Line() + "." + Line()));
                    break;
                case '\x93': // STACK_GLOBAL
                    Push(PopMany(2) is [string module, string name] ? Named($"{module}.{name}") : throw Malformed());
                    break;
                case 'Q':
                    Push(Persistent(Pop()));
                    break;
                case 'R':
                    var arguments = Pop() as object?[];
                    Push(Build(Pop() as Global, arguments ?? throw Malformed()));
                    break;
                case 'b': // attributes of a dict: the versions of its modules
                    if (PopMany(1) is not [Dict] || Top() is not Dict)
                    {
                        throw Malformed();
                    }

                    break;
                default:
                    throw new CheckpointException($"its pickle has the operation 0x{_bytes[_position - 1]:x2}, which a dict of tensors needs none of", _path);
            }
        }
    }

    /// <summary>What a function of a state dict would make.</summary>
    private object Build(Global? function, object?[] arguments) => (function?.Name, arguments) switch
    {
        ("collections.OrderedDict", []) => new Dict(),
        ("torch._utils._rebuild_tensor_v2", [Storage storage, long first, object?[] shape, object?[] strides, bool, ..]) => Tensor(storage, first, Sizes(shape), Sizes(strides)),
        ("torch._utils._rebuild_parameter", [PickledTensor tensor, ..]) => tensor,
        ({ } name, _) => throw new CheckpointException($"its pickle calls {name} with arguments of another kind than a state dict's", _path),
        _ => throw Malformed(),
    };

    private PickledTensor Tensor(Storage storage, long first, long[] shape, long[] strides)
    {
        if (shape.Length != strides.Length || first < 0)
        {
            throw Malformed();
        }

        // The last element that the strides reach lies in the storage.
        var (last, count) = ((Int128)first, (Int128)1);
        for (var i = 0; i < shape.Length; i++)
        {
            if (shape[i] < 0 || strides[i] < 0)
            {
                throw Malformed();
            }

            last += (Int128)Math.Max(shape[i] - 1, 0) * strides[i];
            count = Int128.Min(count * shape[i], long.MaxValue);
        }

        return count == 0 || last < storage.Elements ? new(storage.Type, storage.Key, storage.Elements, first, shape, strides)
            : throw new CheckpointException($"a tensor of shape [{string.Join(", ", shape)}] lies outside its storage of {storage.Elements} elements", _path);
    }

    private Storage Persistent(object? id) => id is object?[] and ["storage", Global type, string key, string, long elements] && elements >= 0
        ? new(Storages.TryGetValue(type.Name, out var stored) ? stored : throw new CheckpointException($"{type.Name} has no elements of a type that is read", _path), key, elements)
        : throw Malformed();

    private Global Named(string name) => Storages.ContainsKey(name) || Functions.Contains(name) ? new(name)
        : throw new CheckpointException($"its pickle asks for {name}; a state dict of tensors needs only {string.Join(", ", Functions)} and the storage types, and nothing else is read", _path);

    private long[] Sizes(object?[] values) => Array.ConvertAll(values, value => value is long size ? size : throw Malformed());

    private void Append(object?[] values)
    {
        if (Top() is not List<object?> list)
        {
            throw Malformed();
        }

        list.AddRange(values);
    }

    private void SetItems(object?[] values)
    {
        if (Top() is not Dict dict || values.Length % 2 != 0)
        {
            throw Malformed();
        }

        for (var i = 0; i < values.Length; i += 2)
        {
            if (values[i] is not string name)
            {
                throw new CheckpointException($"a key of its dict is {Describe(values[i])}, not text", _path);
            }

            if (!dict.Names.Add(name))
            {
                throw new CheckpointException("its dict has it twice", _path, name);
            }

            dict.Entries.Add(new(name, values[i + 1]));
        }
    }

    private void Push(object? value) => _stack.Add(value);

    private object? Top() => _stack.Count > (_marks.TryPeek(out var mark) ? mark : 0) ? _stack[^1] : throw Malformed();

    private object? Pop() => PopMany(1)[0];

    private object?[] PopMany(int count)
    {
        var start = _stack.Count - count;
        return start >= (_marks.TryPeek(out var mark) ? mark : 0) ? PopFrom(start) : throw Malformed();
    }

    private object?[] PopToMark() => _marks.TryPop(out var mark) ? PopFrom(mark) : throw Malformed();

    private object?[] PopFrom(int start)
    {
        var values = _stack[start..].ToArray();
        _stack.RemoveRange(start, values.Length);
        return values;
    }

    private object? Recall(long index) => _memo.TryGetValue(index, out var value) ? value : throw Malformed();

    private byte Byte() => Take(1)[0];

    private ReadOnlySpan<byte> Take(long count)
    {
        if (count > _bytes.Length - _position)
        {
            throw Malformed();
        }

        _position += (int)count;
        return _bytes.AsSpan(_position - (int)count, (int)count);
    }

    private string Line()
    {
        var length = _bytes.AsSpan(_position).IndexOf((byte)'\n');
        var text = length is >= 0 and <= 200 ? Text(length) : throw Malformed();
        _position++;
        return text;
    }

    private string Text(long length) => Encoding.UTF8.GetString(Take(length));

    /// <summary>A two's complement number of at most 8 bytes.</summary>
    private long Long(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > 8)
        {
            throw Malformed();
        }

        long value = bytes.Length > 0 && (bytes[^1] & 0x80) != 0 ? -1 : 0;
        for (var i = bytes.Length - 1; i >= 0; i--)
        {
            value = (value << 8) | bytes[i];
        }

        return value;
    }

    private CheckpointException Malformed() => new($"its pickle is malformed at byte {_position}", _path);

    private static string Describe(object? value) => value switch
    {
        null => "None",
        bool => "a bool",
        long or double => "a number",
        string => "text",
        Dict => "a dict",
        PickledTensor => "a tensor",
        object?[] => "a tuple",
        List<object?> => "a list",
        _ => "something else",
    };

    /// <summary>A function or type, by name alone.</summary>
    private sealed record Global(string Name);

    private sealed record Storage(StoredType Type, string Key, long Elements);

    private sealed class Dict
    {
        public List<KeyValuePair<string, object?>> Entries { get; } = [];

        public HashSet<string> Names { get; } = new(StringComparer.Ordinal);
    }
}
