using System.Reflection;
using System.Security;
using System.Text;
using System.Xml.Linq;

namespace Fla.TorchGenerator;

/// <summary>The documentation of the libraries' members, under the generated names.</summary>
internal static class Docs
{
    private static readonly Dictionary<Assembly, ILookup<string, XElement>> Files = [];

    /// <summary>A method's documentation with its parameters renamed; parameters that have no new name are left out.</summary>
    public static string Method(MethodInfo method, string indent, Func<string, string?> rename)
    {
        var prefix = $"M:{method.DeclaringType!.FullName}.{method.Name}(";
        var count = method.GetParameters().Length;
        var member = Members(method.DeclaringType.Assembly).FirstOrDefault(group => group.Key.StartsWith(prefix, StringComparison.Ordinal) && Arity(group.Key) == count)?.First();
        return Write(member, indent, rename);
    }

    /// <summary>What a member's summary says.</summary>
    public static string Summary(string id, Assembly assembly) =>
        Members(assembly)[id].FirstOrDefault()?.Element("summary") is { } summary ? Line(summary, name => name) : "";

    /// <summary>What is said of a constructor's parameter.</summary>
    public static string Parameter(ConstructorInfo constructor, string name)
    {
        var prefix = $"M:{constructor.DeclaringType!.FullName}.#ctor(";
        var members = Members(constructor.DeclaringType.Assembly).Where(group => group.Key.StartsWith(prefix, StringComparison.Ordinal)).SelectMany(group => group);
        var parameter = members.SelectMany(m => m.Elements("param")).FirstOrDefault(p => p.Attribute("name")!.Value == name);
        return parameter is null ? "" : Line(parameter, old => old);
    }

    /// <summary>One line of a generated comment.</summary>
    public static string Tag(string indent, string tag, string? name, string content) =>
        $"{indent}/// <{tag}{(name is null ? "" : $" name=\"{name}\"")}>{content}</{tag}>\n";

    private static string Write(XElement? member, string indent, Func<string, string?> rename)
    {
        if (member is null) return "";
        var text = new StringBuilder();
        foreach (var element in member.Elements())
        {
            var name = element.Attribute("name")?.Value;
            var own = name is null ? null : rename(name);
            if (element.Name == "param" && own is null) continue;
            if (element.Name == "exception") text.Append($"{indent}/// <exception cref=\"{element.Attribute("cref")!.Value}\">{Line(element, rename)}</exception>\n");
            else text.Append(Tag(indent, element.Name.LocalName, own, Line(element, rename)));
        }
        return text.ToString();
    }

    /// <summary>Inner text on one line; references become code.</summary>
    private static string Line(XElement element, Func<string, string?> rename)
    {
        var text = new StringBuilder();
        foreach (var node in element.Nodes())
        {
            if (node is XText plain) text.Append(SecurityElement.Escape(plain.Value));
            else if (node is XElement inner && inner.Attribute("name") is { } name) text.Append($"<c>{rename(name.Value) ?? name.Value}</c>");
            else if (node is XElement see && see.Attribute("cref") is { } cref) text.Append($"<see cref=\"{cref.Value}\"/>");
            else if (node is XElement other) text.Append($"<c>{SecurityElement.Escape(other.Value)}</c>");
        }
        return string.Join(' ', text.ToString().Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
    }

    private static int Arity(string id)
    {
        var (depth, count) = (0, 1);
        foreach (var letter in id[id.IndexOf('(')..])
        {
            depth += letter is '{' ? 1 : letter is '}' ? -1 : 0;
            if (letter == ',' && depth == 0) count++;
        }
        return count;
    }

    private static ILookup<string, XElement> Members(Assembly assembly)
    {
        if (Files.TryGetValue(assembly, out var members)) return members;
        var document = XDocument.Load(Path.ChangeExtension(assembly.Location, ".xml"));
        return Files[assembly] = document.Descendants("member").ToLookup(m => m.Attribute("name")!.Value);
    }
}
