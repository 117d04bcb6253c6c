using Fla.Cli;

return FlaTool.Run(args, Terminal.OfProcess());
