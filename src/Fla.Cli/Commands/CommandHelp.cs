using System.CommandLine;
using System.CommandLine.Invocation;
using Spectre.Console;

namespace Fla.Cli.Commands;

/// <summary>A command of many options, whose help shows them by subject, after examples.</summary>
/// <param name="name">Its name.</param>
/// <param name="description">What it does.</param>
/// <param name="examples">Command lines, one a line.</param>
internal sealed class GroupedCommand(string name, string description, params string[] examples) : Command(name, description)
{
    /// <summary>Command lines that teach.</summary>
    public IReadOnlyList<string> Examples { get; } = examples;

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
        foreach (var example in command.Examples) terminal.Say(new string(' ', Indent) + example);
        foreach (var (title, options) in command.Groups)
        {
            Section(title);
            Write(options);
        }
        Section("Everywhere");
        Write([FlaTool.DeviceOption]);
        return 0;
    }

    private void Section(string title)
    {
        terminal.Say();
        terminal.Out.MarkupLineInterpolated($"[bold]{title}:[/]");
    }

    private void Write(IEnumerable<Option> options)
    {
        var grid = new Grid().AddColumn(new GridColumn { NoWrap = true, Padding = new(Indent, 0, Indent, 0) }).AddColumn(new GridColumn { Padding = new(0, 0, 0, 0) });
        foreach (var option in options)
        {
            var names = string.Join(", ", option.Aliases.Prepend(option.Name).OrderBy(name => name.Length));
            grid.AddRow(Markup.Escape($"{names} {option.HelpName}".TrimEnd()), Markup.Escape(option.Description ?? ""));
        }
        terminal.Out.Write(grid);
    }
}
