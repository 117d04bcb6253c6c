using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.Runtime.InteropServices;
using Fla.Cli.Commands;
using Fla.Models.Configs;
using Fla.Models.Tokenizers;
using Fla.Vulkan;

namespace Fla.Cli;

/// <summary>The fla command: parses, runs one command, and turns errors into one line and an exit status.</summary>
internal static class FlaTool
{
    private static readonly Func<Terminal, Command>[] Commands =
        [DemoCommand.Create, TrainCommand.Create, GenerateCommand.Create, EvalCommand.Create, CheckCommand.Create, BenchCommand.Create, TuneCommand.Create, InfoCommand.Create, ShadersCommand.Create];

    private const int Failed = 1;
    private const int Interrupted = 130;

    /// <summary>Chooses the device, in every command that uses one.</summary>
    public static Option<string?> DeviceOption { get; } = new("--device", "-d")
    {
        Description = "Device: an index, cpu, discrete, integrated, or part of the name (default: FLA_DEVICE, else the best)",
        HelpName = "DEVICE",
        Recursive = true,
    };

    /// <summary>Runs one command line.</summary>
    /// <param name="args">Arguments, without the program's name.</param>
    /// <param name="terminal">Where it writes.</param>
    /// <returns>0, 1 after an error, 130 after Ctrl-C.</returns>
    public static int Run(string[] args, Terminal terminal)
    {
        var root = new RootCommand("Linear attention on any Vulkan device: information, a demo, training, generation, evaluation, checks of checkpoints.") { DeviceOption };
        foreach (var create in Commands) root.Add(create(terminal));
        foreach (var help in root.Options.OfType<HelpOption>()) help.Action = new CommandHelp(terminal, (SynchronousCommandLineAction)help.Action!);
        var parsed = root.Parse(args);
        var configuration = new InvocationConfiguration
        {
            Output = terminal.Writer,
            Error = terminal.Error.Profile.Out.Writer,
            EnableDefaultExceptionHandler = false,
            ProcessTerminationTimeout = null,
        };
        try
        {
            return parsed.Invoke(configuration);
        }
        catch (OperationCanceledException)
        {
            terminal.Fail("interrupted");
            return Interrupted;
        }
        catch (Exception error)
        {
            terminal.Fail(error.Message);
            if (!IsExpected(error) || Environment.GetEnvironmentVariable("FLA_TRACE") == "1") terminal.Note(error.ToString());
            return Failed;
        }
    }

    /// <summary>Lets a command end by itself at Ctrl-C or a termination request; a second one ends the process at once.</summary>
    public static T Cancellable<T>(Func<CancellationToken, T> run)
    {
        using var cancel = new CancellationTokenSource();
        void OnSignal(PosixSignalContext context)
        {
            context.Cancel = !cancel.IsCancellationRequested;
            cancel.Cancel();
        }
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        return run(cancel.Token);
    }

    /// <summary>How the device is opened: the environment's switches, and the choice of --device before FLA_DEVICE.</summary>
    public static DeviceOptions DeviceOptions(ParseResult parsed)
    {
        var options = Vulkan.DeviceOptions.FromEnvironment();
        return parsed.GetValue(DeviceOption) is { } select ? options with { Select = select } : options;
    }

    /// <summary>What a user can cause; anything else is a defect and keeps its stack trace.</summary>
    private static bool IsExpected(Exception error) => error is FlaException or ConfigException or TokenizerException or IOException or UnauthorizedAccessException;
}
