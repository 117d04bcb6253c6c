using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;
using Fla.Vulkan;
using Fla.Vulkan.Ops;

namespace Fla.TorchGenerator;

/// <summary>Operators as functions on TorchSharp tensors, in the static class fla.</summary>
internal static class OpWriter
{
    private static readonly NullabilityInfoContext Nullability = new();

    /// <summary>
    /// Families whose name does not end in Ops, with what goes before their members' names. Elementwise maps and softmaxes are not among them: TorchSharp has its
    /// own, and a crossing costs more than they do.
    /// </summary>
    private static readonly Dictionary<Type, string> Families = new()
    {
        [typeof(Convolutions)] = "", [typeof(FeatureMaps)] = "", [typeof(FusedLinearLosses)] = "fused_linear_", [typeof(Losses)] = "",
        [typeof(Norms)] = "", [typeof(Rotary)] = "", [typeof(TokenShifts)] = "",
    };

    /// <summary>Appends the class.</summary>
    public static void Write(StringBuilder text)
    {
        text.Append("namespace Fla.Torch\n{\n    using Tensor = global::TorchSharp.torch.Tensor;\n\n    public static partial class fla\n    {\n");
        foreach (var (type, prefix) in All())
        {
            foreach (var method in type.GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly).OrderBy(m => m.Name, StringComparer.Ordinal))
            {
                // A step overwrites the state that it is given, which has no meaning for a tensor that crosses.
                var isStep = method.Name.EndsWith("Step", StringComparison.Ordinal);
                if (!isStep && method.GetCustomAttribute<ObsoleteAttribute>() == null) WriteMethod(text, prefix, method);
            }
        }
        text.Append("    }\n}\n");
    }

    private static IEnumerable<(Type Type, string Prefix)> All() => typeof(LinearOps).Assembly.GetExportedTypes()
        .Where(t => t is { Namespace: "Fla.Vulkan.Ops", IsAbstract: true, IsSealed: true } && (t.Name.EndsWith("Ops", StringComparison.Ordinal) || Families.ContainsKey(t)))
        .OrderBy(t => t.Name, StringComparer.Ordinal).Select(t => (t, Families.GetValueOrDefault(t, "")));

    private static void WriteMethod(StringBuilder text, string prefix, MethodInfo method)
    {
        var results = Results(method);
        var arguments = new List<Argument>();
        foreach (var parameter in method.GetParameters())
        {
            if (Argument.Of(parameter, arguments.Count(a => a.IsCrossing)) is not { } argument)
            {
                results = null;
                break;
            }
            arguments.Add(argument);
        }
        if (results == null || !arguments.Any(a => a.IsCrossing))
        {
            text.Append($"        // {method.DeclaringType!.Name}.{method.Name} has no counterpart: it takes or gives more than tensors and settings.\n");
            return;
        }

        var name = method.Name == "Apply" ? Names.Snake(method.DeclaringType!.Name) : prefix + Names.Snake(method.Name);
        var shown = arguments.Where(a => a.Declaration != null).ToList();
        text.Append(Docs.Method(method, "        ", old => shown.Find(a => a.Old == old)?.New));
        text.Append($"        public static {Declare(results.Value.Items, results.Value.IsArray)} {name}({string.Join(", ", shown.Select(a => a.Declaration))})\n        {{\n");
        var inputs = string.Join(", ", arguments.Where(a => a.IsCrossing).Select(a => a.New));
        var packing = arguments.Find(a => a.IsPacking)?.New ?? "null";
        text.Append($"            var results = TorchCall.Run(\"{name}\", TorchDevice.Current, [{inputs}], (inputs, call) =>\n            {{\n");
        text.Append($"                var made = global::{method.DeclaringType!.FullName}.{method.Name}({string.Join(", ", arguments.Where(a => a.Passed != null).Select(a => $"{a.Old}: {a.Passed}"))});\n");
        var items = results.Value.Items;
        text.Append($"                return {(results.Value.IsArray ? "made" : items.Count == 1 ? "[made]" : $"[{string.Join(", ", items.Select((_, i) => $"made.Item{i + 1}"))}]")};\n");
        text.Append($"            }}, cuSeqlens: {packing});\n");
        text.Append($"            return {(results.Value.IsArray ? "results!" : items.Count == 1 ? "results[0]!" : $"({string.Join(", ", items.Select((item, i) => $"results[{i}]{(item.IsNullable ? "" : "!")}"))})")};\n        }}\n\n");
    }

    private static string Declare(IReadOnlyList<(string Name, bool IsNullable)> items, bool isArray)
    {
        if (isArray) return "Tensor[]";
        if (items.Count == 1) return items[0].IsNullable ? "Tensor?" : "Tensor";
        return $"({string.Join(", ", items.Select(item => $"Tensor{(item.IsNullable ? "?" : "")} {Names.Escape(Names.Snake(item.Name))}"))})";
    }

    /// <summary>What a method gives, null when that is not tensors alone.</summary>
    private static (IReadOnlyList<(string Name, bool IsNullable)> Items, bool IsArray)? Results(MethodInfo method)
    {
        var type = method.ReturnType;
        var info = Nullability.Create(method.ReturnParameter);
        if (type == typeof(Tensor)) return ([("o", info.ReadState == NullabilityState.Nullable)], false);
        if (type == typeof(Tensor[])) return ([], true);
        if (!type.IsAssignableTo(typeof(ITuple)) || type.GenericTypeArguments.Any(t => t != typeof(Tensor))) return null;
        var names = method.ReturnParameter.GetCustomAttribute<TupleElementNamesAttribute>()!.TransformNames;
        return ([.. names.Select((name, i) => (name!, info.GenericTypeArguments[i].ReadState == NullabilityState.Nullable))], false);
    }

    /// <summary>A parameter on its way through.</summary>
    /// <param name="Old">Its name in the library.</param>
    /// <param name="New">Its name here.</param>
    /// <param name="Declaration">Its declaration here; null when it is left out.</param>
    /// <param name="Passed">What the library is given; null when its default does.</param>
    /// <param name="IsCrossing">Whether it is a tensor that crosses.</param>
    /// <param name="IsPacking">Whether it is the boundaries of packed sequences.</param>
    private sealed record Argument(string Old, string New, string? Declaration, string? Passed, bool IsCrossing = false, bool IsPacking = false)
    {
        /// <summary>Null for a parameter that has no counterpart.</summary>
        public static Argument? Of(ParameterInfo parameter, int crossed)
        {
            var (old, name) = (parameter.Name!, Names.Escape(Names.Snake(parameter.Name!)));
            var type = parameter.ParameterType;
            var isNullable = Nullability.Create(parameter).ReadState == NullabilityState.Nullable;
            var optional = parameter.HasDefaultValue ? " = null" : "";
            // Where a result is written in place: not for tensors that cross.
            if (old == "finalState") return new(old, name, null, null);
            if (type == typeof(StateSlots)) return null;
            if (type == typeof(Tensor)) return new(old, name, $"Tensor{(isNullable ? "?" : "")} {name}{optional}", $"inputs[{crossed}]{(isNullable ? "" : "!")}", IsCrossing: true);
            if (type == typeof(CuSeqlens)) return new(old, name, $"Tensor{(isNullable ? "?" : "")} {name}{optional}", $"call.CuSeqlens{(isNullable ? "" : "!")}", IsPacking: true);
            if (type == typeof(DType?)) return new(old, name, $"global::TorchSharp.torch.ScalarType? {name}{optional}", $"{name} is null ? null : Crossing.TypeOf({name}.Value)");
            if (Names.Plain(type, isNullable) is not { } plain) return null;
            return new(old, name, $"{plain} {name}{(parameter.HasDefaultValue ? $" = {Names.Literal(parameter.DefaultValue, type)}" : "")}", name);
        }
    }
}
