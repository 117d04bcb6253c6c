using System.Runtime.InteropServices;
using System.Text;

namespace Fla.Vulkan;

/// <summary>One member of a shader's argument block.</summary>
/// <param name="Offset">Byte offset.</param>
/// <param name="Size">Bytes.</param>
/// <param name="IsPointer">True for a buffer address.</param>
internal readonly record struct ArgumentMember(int Offset, int Size, bool IsPointer);

/// <summary>What the runtime needs to know of a SPIR-V module: argument block, specialization constants, shared memory.</summary>
internal sealed class Spirv
{
    private const uint Magic = 0x07230203;
    private const uint StorageWorkgroup = 4, StoragePushConstant = 9, StoragePhysical = 5349;
    private const uint DecorationSpecId = 1, DecorationOffset = 35;

    private readonly Dictionary<uint, uint[]> _types = [];                     // result id -> opcode and operands
    private readonly Dictionary<uint, uint[]> _constants = [];                 // result id -> opcode, type, operands
    private readonly Dictionary<uint, uint> _specIds = [];                     // result id -> SpecId
    private readonly Dictionary<(uint, uint), int> _offsets = [];              // struct id, member -> offset
    private readonly List<(uint Type, uint Storage)> _variables = [];

    public IReadOnlyList<ArgumentMember> Arguments { get; }

    /// <summary>Whether the push constants are only a pointer to the arguments.</summary>
    public bool ReadsArgumentRing { get; private set; }

    /// <summary>Specialization constant ids in ascending order.</summary>
    public IReadOnlyList<uint> SpecIds => _specIds.Values.Order().ToList();

    /// <summary>Reads a module.</summary>
    /// <exception cref="ShaderException">The words are no SPIR-V module.</exception>
    public Spirv(ReadOnlySpan<byte> code, string name)
    {
        if (code.Length < 20 || code.Length % 4 != 0) throw new ShaderException($"{name}: not SPIR-V");
        var words = MemoryMarshal.Cast<byte, uint>(code);
        if (words[0] != Magic) throw new ShaderException($"{name}: not SPIR-V");
        for (var i = 5; i < words.Length;)
        {
            var (length, op) = ((int)(words[i] >> 16), words[i] & 0xffff);
            if (length == 0 || i + length > words.Length) throw new ShaderException($"{name}: broken SPIR-V");
            Read(op, words.Slice(i + 1, length - 1));
            i += length;
        }
        Arguments = ArgumentBlock();
    }

    /// <summary>Bytes of shared memory with the given values of the specialization constants.</summary>
    public int SharedMemory(IReadOnlyDictionary<uint, uint> spec) =>
        _variables.Where(v => v.Storage == StorageWorkgroup).Sum(v => SizeOf(_types[v.Type][3], spec));

    /// <summary>Default values of the specialization constants from id 0 to the largest.</summary>
    public uint[] DefaultSpec()
    {
        var spec = new uint[_specIds.Count == 0 ? 0 : _specIds.Values.Max() + 1];
        foreach (var (id, specId) in _specIds) spec[specId] = Value(id, null);
        return spec;
    }

    private void Read(uint op, ReadOnlySpan<uint> w)
    {
        switch (op)
        {
            case 71 when w[1] == DecorationSpecId: _specIds[w[0]] = w[2]; break;                                       // OpDecorate
            case 72 when w[2] == DecorationOffset: _offsets[(w[0], w[1])] = (int)w[3]; break;                          // OpMemberDecorate
            case >= 19 and <= 33 or 4456: _types[w[0]] = [op, .. w]; break;                                            // OpType*
            case >= 41 and <= 44 or >= 48 and <= 52: _constants[w[1]] = [op, w[0], .. w[2..]]; break;              // Op(Spec)Constant*
            case 59: _variables.Add((w[0], w[2])); break;                                                              // OpVariable
        }
    }

    private List<ArgumentMember> ArgumentBlock()
    {
        var block = _variables.Where(v => v.Storage == StoragePushConstant).Select(v => _types[v.Type][3]).FirstOrDefault();
        if (block == 0) return [];
        var members = Members(block);
        // One pointer to a plain struct is the argument ring's form: the struct is the block, or, so that a shader can copy it, its only member is.
        if (members is [{ IsPointer: true }] && Pointee(_types[block][2]) is { } target && _types[target][0] == 30)
        {
            if (_types[target] is [_, _, var only] && _types[only][0] == 30) target = only;
            var inner = Members(target);
            if (inner.Count > 1)
            {
                ReadsArgumentRing = true;
                return inner;
            }
        }
        return members;
    }

    private List<ArgumentMember> Members(uint structure) =>
        _types[structure][2..].Select((type, i) => new ArgumentMember(_offsets.GetValueOrDefault((structure, (uint)i)), SizeOf(type, null), IsPointer(type))).ToList();

    private bool IsPointer(uint type) => _types[type] is [32, _, StoragePhysical, ..];

    private uint? Pointee(uint pointer) => IsPointer(pointer) ? _types[pointer][3] : null;

    private int SizeOf(uint type, IReadOnlyDictionary<uint, uint>? spec)
    {
        var t = _types[type];
        return t[0] switch
        {
            20 => 4,                                                                                                   // bool
            21 or 22 => (int)t[2] / 8,                                                                                 // int, float
            23 or 24 => SizeOf(t[2], spec) * (int)t[3],                                                                // vector, matrix
            28 => SizeOf(t[2], spec) * (int)Value(t[3], spec),                                                         // array
            29 => 0,                                                                                                   // runtime array
            30 => StructSize(type, spec),                                                                              // struct
            32 => 8,                                                                                                   // pointer
            _ => 0,
        };
    }

    private int StructSize(uint type, IReadOnlyDictionary<uint, uint>? spec)
    {
        var end = 0;
        var members = _types[type][2..];
        for (var i = 0; i < members.Length; i++)
        {
            var start = _offsets.TryGetValue((type, (uint)i), out var offset) ? offset : end;
            end = Math.Max(end, start + SizeOf(members[i], spec));
        }
        return end;
    }

    private uint Value(uint id, IReadOnlyDictionary<uint, uint>? spec)
    {
        var c = _constants[id];
        if (c[0] is 48 or 49 or 50 && spec != null && _specIds.TryGetValue(id, out var specId) && spec.TryGetValue(specId, out var given)) return given;
        return c[0] switch
        {
            41 or 48 => 1,
            42 or 49 => 0,
            43 or 50 => c[2],
            52 => Fold(c[2], c[3..], spec),
            _ => throw new ShaderException("an array's length is not an integer constant"),
        };
    }

    private uint Fold(uint op, uint[] args, IReadOnlyDictionary<uint, uint>? spec)
    {
        uint A(int i) => Value(args[i], spec);
        return op switch
        {
            81 => Value(_constants[args[0]][2 + (int)args[1]], spec),                                                   // element of a composite
            124 or 113 or 114 => A(0),                                                                                 // bitcast, convert
            128 => A(0) + A(1),
            130 => A(0) - A(1),
            132 => A(0) * A(1),
            134 => A(0) / A(1),
            135 => (uint)((int)A(0) / (int)A(1)),
            137 => A(0) % A(1),
            139 => (uint)((int)A(0) % (int)A(1)),
            194 => A(0) >> (int)A(1),
            196 => A(0) << (int)A(1),
            197 => A(0) | A(1),
            199 => A(0) & A(1),
            169 => A(0) != 0 ? A(1) : A(2),
            166 => A(0) | A(1),
            167 => A(0) & A(1),
            168 => A(0) == 0 ? 1u : 0u,
            164 or 170 => A(0) == A(1) ? 1u : 0u,
            165 or 171 => A(0) != A(1) ? 1u : 0u,
            172 => A(0) > A(1) ? 1u : 0u,
            173 => (int)A(0) > (int)A(1) ? 1u : 0u,
            174 => A(0) >= A(1) ? 1u : 0u,
            175 => (int)A(0) >= (int)A(1) ? 1u : 0u,
            176 => A(0) < A(1) ? 1u : 0u,
            177 => (int)A(0) < (int)A(1) ? 1u : 0u,
            178 => A(0) <= A(1) ? 1u : 0u,
            179 => (int)A(0) <= (int)A(1) ? 1u : 0u,
            _ => throw new ShaderException($"specialization operation {op} in an array's length is not known"),
        };
    }
}
