using System.Collections.Concurrent;
using System.Reflection;
using System.Runtime.InteropServices;

namespace Fla.Vulkan;

/// <summary>Address of a buffer that a kernel reads; converts from a tensor, null gives address 0.</summary>
/// <param name="Address">Device address.</param>
public readonly record struct In(ulong Address)
{
    /// <summary>The tensor's address.</summary>
    public static implicit operator In(Tensor? tensor) => new(tensor?.Address ?? 0);
}

/// <summary>Address of a buffer that a kernel writes without reading it; converts from a tensor, null gives address 0.</summary>
/// <param name="Address">Device address.</param>
public readonly record struct Out(ulong Address)
{
    /// <summary>The tensor's address.</summary>
    public static implicit operator Out(Tensor? tensor) => new(tensor?.Address ?? 0);
}

/// <summary>Address of a buffer that a kernel reads and writes; converts from a tensor, null gives address 0.</summary>
/// <param name="Address">Device address.</param>
public readonly record struct InOut(ulong Address)
{
    /// <summary>The tensor's address.</summary>
    public static implicit operator InOut(Tensor? tensor) => new(tensor?.Address ?? 0);
}

[Flags]
internal enum Access
{
    None = 0,
    Read = 1,
    Write = 2,
}

/// <summary>Layout of an argument struct: which bytes are addresses, and how they are used.</summary>
internal sealed record ArgumentLayout(int Size, IReadOnlyList<ArgumentMember> Members, IReadOnlyList<(int Offset, Access Access)> Pointers)
{
    private static readonly ConcurrentDictionary<Type, ArgumentLayout> Known = new();

    public static ArgumentLayout Of<TArgs>() where TArgs : unmanaged => Known.GetOrAdd(typeof(TArgs), static type =>
    {
        var members = new List<ArgumentMember>();
        var pointers = new List<(int, Access)>();
        foreach (var field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic))
        {
            var offset = (int)Marshal.OffsetOf(type, field.Name);
            var access = field.FieldType == typeof(In) ? Access.Read
                : field.FieldType == typeof(Out) ? Access.Write
                : field.FieldType == typeof(InOut) ? Access.Read | Access.Write : Access.None;
            if (access != Access.None) pointers.Add((offset, access));
            else if (field.FieldType != typeof(uint) && field.FieldType != typeof(int) && field.FieldType != typeof(float) && field.FieldType != typeof(ulong))
            {
                throw new ShaderException($"{type.Name}.{field.Name}: kernel arguments are In, Out, InOut, uint, int, float or ulong");
            }
            members.Add(new(offset, access != Access.None ? 8 : Marshal.SizeOf(field.FieldType), access != Access.None));
        }
        return new(Marshal.SizeOf(type), members.OrderBy(m => m.Offset).ToList(), pointers);
    });

    /// <summary>Whether the block is too long for push constants and reaches the shader through memory.</summary>
    public bool NeedsRing => Size > PipelineStore.PushConstantBytes;

    /// <exception cref="ShaderException">The shader's argument block differs, or is not where one of this length goes.</exception>
    public void CheckAgainst(Spirv shader, string key, Type type)
    {
        if (!Members.SequenceEqual(shader.Arguments))
        {
            static string Text(IEnumerable<ArgumentMember> m) => string.Join(" ", m.Select(x => $"{x.Offset}:{(x.IsPointer ? "ptr" : x.Size)}"));
            throw new ShaderException($"{key}: the arguments of {type.Name} are laid out as {Text(Members)}, the shader's as {Text(shader.Arguments)}");
        }
        if (Members.Count > 0 && NeedsRing != shader.ReadsArgumentRing)
        {
            throw new ShaderException(NeedsRing
                ? $"{key}: the {Size} bytes of {type.Name} are more than the {PipelineStore.PushConstantBytes} of push constants: the shader's block has to be a pointer to a struct"
                : $"{key}: the {Size} bytes of {type.Name} fit push constants, but the shader's block is a pointer to a struct");
        }
    }
}

/// <summary>Workgroups of a dispatch.</summary>
/// <param name="X">Along x.</param>
/// <param name="Y">Along y.</param>
/// <param name="Z">Along z.</param>
public readonly record struct Grid(uint X, uint Y = 1, uint Z = 1)
{
    private const uint Guaranteed = 65535;

    /// <summary>A grid of at least <paramref name="count"/> workgroups, folded over x and y: the workgroup's number is
    /// gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x, and those past the count return.</summary>
    public static Grid Linear(long count)
    {
        if (count <= Guaranteed) return new((uint)count);
        var y = (uint)((count + Guaranteed - 1) / Guaranteed);
        return new((uint)((count + y - 1) / y), y);
    }

    /// <summary>Workgroups of <paramref name="size"/> items each over <paramref name="count"/> items, as <see cref="Linear"/>.</summary>
    public static Grid Over(long count, int size) => Linear((count + size - 1) / size);

    /// <summary>True when there is nothing to do.</summary>
    public bool IsEmpty => X == 0 || Y == 0 || Z == 0;
}
