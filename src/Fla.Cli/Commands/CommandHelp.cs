using System.CommandLine;
using System.CommandLine.Invocation;
using Spectre.Console;

namespace Fla.Cli.Commands;

/// <summary>A command of many options, whose help shows them by subject, after examples.</summary>
/// <param name="name">Its name.</param>
/// <param name="description">What it does.</param>
/// <param name="examples">Command lines, and what each is for.</param>
internal sealed class GroupedCommand(string name, string description, params (string Line, string Purpose)[] examples) : Command(name, description)
{
    /// <summary>Command lines that teach.</summary>
    public IReadOnlyList<(string Line, string Purpose)> Examples { get; } = examples;

    /// <summary>Options by subject.</summary>
    public List<(string Title, List<Option> Options)> Groups { get; } = [];

    /// <summary>Adds options under a subject.</summary>
    public void AddGroup(string title, IEnumerable<Option> options)
    {
        Groups.Add((title, [.. options]));
        foreach (var option in Groups[^1].Options) Add(option);
    }
}

/// <summary>--help: the usual one, but for commands of many options.</summary>
/// <param name="terminal">Where it is written.</param>
/// <param name="usual">The usual one.</param>
internal sealed class CommandHelp(Terminal terminal, SynchronousCommandLineAction usual) : SynchronousCommandLineAction
{
    private const int Indent = 2;

    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        ArgumentNullException.ThrowIfNull(parseResult);
        if (parseResult.CommandResult.Command is not GroupedCommand command) return usual.Invoke(parseResult);
        terminal.Say(command.Description!);
        Section("Examples");
        foreach (var (line, purpose) in command.Examples)
        {
            terminal.Say(new string(' ', Indent) + line);
            terminal.Out.MarkupLineInterpolated($"{new string(' ', 2 * Indent)}[dim]{purpose}[/]");
        }
        if (command.Arguments.Count > 0)
        {
            Section("Arguments");
            Write(command.Arguments.Select(argument => (argument.Name, argument.Description)));
        }
        foreach (var (title, options) in command.Groups)
        {
            Section(title);
            Write(options.Select(Describe));
        }
        Section("Everywhere");
        Write([Describe(FlaTool.DeviceOption)]);
        return 0;
    }

    private void Section(string title)
    {
        terminal.Say();
        terminal.Out.MarkupLineInterpolated($"[bold]{title}:[/]");
    }

    private static (string Names, string? Description) Describe(Option option)
    {
        var names = string.Join(", ", option.Aliases.Prepend(option.Name).OrderBy(name => name.Length));
        var value = option.HasDefaultValue && option.GetDefaultValue() is { } usual and not (false or "") ? $" (default: {usual})" : "";
        return ($"{names} {option.HelpName}".TrimEnd(), option.Description + value);
    }

    private void Write(IEnumerable<(string Names, string? Description)> lines)
    {
        var grid = new Grid().AddColumn(new GridColumn { NoWrap = true, Padding = new(Indent, 0, Indent, 0) }).AddColumn(new GridColumn { Padding = new(0, 0, 0, 0) });
        foreach (var (names, description) in lines) grid.AddRow(Markup.Escape(names), Markup.Escape(description ?? ""));
        terminal.Out.Write(grid);
    }
}
