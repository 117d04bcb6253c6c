namespace Fla.Cli.Tests;

/// <summary>The tool, run in this process with its output caught.</summary>
internal static class Tool
{
    public static (int Status, string Out, string Error) Run(params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var status = FlaTool.Run(args, Terminal.Plain(output, error));
        return (status, output.ToString(), error.ToString());
    }
}
