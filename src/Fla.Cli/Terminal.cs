using System.Text;
using Spectre.Console;

namespace Fla.Cli;

/// <summary>Where the tool writes: results to one console, errors and progress to the other. Either may be a file or a pipe, and is then plain text.</summary>
internal sealed class Terminal
{
    /// <summary>Wide enough that nothing wraps in a log file.</summary>
    private const int PlainWidth = 1000;

    private Terminal(IAnsiConsole output, IAnsiConsole error)
    {
        Out = output;
        Error = error;
    }

    /// <summary>Results.</summary>
    public IAnsiConsole Out { get; }

    /// <summary>Errors, notes and progress.</summary>
    public IAnsiConsole Error { get; }

    /// <summary>Results, without any formatting.</summary>
    public TextWriter Writer => Out.Profile.Out.Writer;

    /// <summary>True when a person watches the progress: lines may be rewritten.</summary>
    public bool IsInteractive => Error.Profile.Capabilities.Interactive && Error.Profile.Out.IsTerminal;

    /// <summary>The process's own streams.</summary>
    public static Terminal OfProcess()
    {
        if (Console.OutputEncoding is not UTF8Encoding) Console.OutputEncoding = new UTF8Encoding(false);
        return new(Wrap(Console.Out), Wrap(Console.Error));
    }

    /// <summary>Two writers, as plain text.</summary>
    public static Terminal Plain(TextWriter output, TextWriter error) => new(Wrap(output), Wrap(error));

    /// <summary>One line of the results.</summary>
    public void Say(string message = "") => Out.WriteLine(message);

    /// <summary>One readable line, red where there are colours.</summary>
    public void Fail(string message) => Error.MarkupLineInterpolated($"[red]fla: {message.ReplaceLineEndings(" ")}[/]");

    /// <summary>One line that says what is going on, kept out of the results.</summary>
    public void Note(string message) => Error.WriteLine(message);

    /// <summary>A table in the tool's one style.</summary>
    public static Table Table(string title, params string[] columns)
    {
        var table = new Table { Border = TableBorder.Horizontal, Title = new(Markup.Escape(title), new(decoration: Decoration.Bold)) };
        foreach (var column in columns) table.AddColumn(Markup.Escape(column));
        return table;
    }

    private static IAnsiConsole Wrap(TextWriter writer)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(writer) });
        if (!console.Profile.Out.IsTerminal)
        {
            console.Profile.Width = PlainWidth;
            console.Profile.Capabilities.Ansi = false;
            console.Profile.Capabilities.Interactive = false;
        }
        return console;
    }
}
