using System;
using System.Collections.Generic;
using System.CommandLine;
using System.CommandLine.Invocation;
using System.Linq;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Commands;

/// <summary>The commands of the program, and how they end: 0 done, 1 refused or failed, 2 wrong usage.</summary>
/// <remarks>
/// This room has one file for each group of commands. Results go to standard output; every other word goes to standard error, so that
/// <c>SECRET=$(…)</c> works.
/// </remarks>
public static class CommandLine
{
    private static readonly string[] s_hostSettings = ["urls", "http_ports", "https_ports", "environment", "contentRoot"];

    /// <summary>Prints results as JSON.</summary>
    internal static Option<bool> Json { get; } = new("--json") { Description = "Print machine-readable output.", Recursive = true };

    /// <summary>
    /// Tells settings from words of a command: <c>--Some:Key=value</c> and <c>--Some:Key value</c>, and the same with <c>urls</c>,
    /// <c>environment</c> and <c>contentRoot</c>, are settings.
    /// </summary>
    /// <param name="args">All arguments of the program.</param>
    public static (string[] Settings, string[] Words) Split(string[] args)
    {
        List<string> settings = [];
        List<string> words = [];
        for (var i = 0; i < args.Length; i++)
        {
            if (!IsSetting(args[i]))
            {
                words.Add(args[i]);
                continue;
            }

            settings.Add(args[i]);
            if (!args[i].Contains('=', StringComparison.Ordinal) && i + 1 < args.Length)
            {
                settings.Add(args[++i]);
            }
        }

        return ([.. settings], [.. words]);
    }

    /// <summary>Runs the command that the words name.</summary>
    /// <param name="words">The arguments, without settings.</param>
    /// <param name="settings">Reads the settings.</param>
    /// <param name="serve">Runs the service until it is stopped.</param>
    /// <returns>The exit status.</returns>
    public static async Task<int> Run(string[] words, Func<Settings> settings, Func<Task> serve)
    {
        var parsed = Root(settings, serve).Parse(words, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Action is ParseErrorAction)
        {
            await Console.Error.WriteLineAsync(OneLine($"{parsed.Errors[0].Message} See --help."));
            return 2;
        }

        try
        {
            return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
        }
        catch (Exception fault)
        {
            // An operator can mend the first two; the others are named, so that they can be looked up.
            var name = fault is OperatorFaultException or StoreUnavailableException ? "" : $"{fault.GetType().Name}: ";
            await Console.Error.WriteLineAsync(OneLine($"{name}{fault.Message}"));
            return 1;
        }
    }

    // It may repeat an argument, with whatever is in it.
    private static string OneLine(string message) => new([.. message.ReplaceLineEndings(" ").Select(c => char.IsControl(c) ? ' ' : c)]);

    private static bool IsSetting(string arg)
    {
        if (!arg.StartsWith("--", StringComparison.Ordinal))
        {
            return false;
        }

        var key = arg[2..].Split('=')[0];
        return key.Contains(':', StringComparison.Ordinal) || s_hostSettings.Contains(key, StringComparer.OrdinalIgnoreCase);
    }

    private static RootCommand Root(Func<Settings> settings, Func<Task> serve)
    {
        var root = new RootCommand(
            "An OAuth 2.0 authorization server for machines. Without a command it runs the service. " +
            "Every command takes settings too: --TokenService:Issuer=https://auth.example.com, --urls=http://127.0.0.1:8080.")
        {
            Json,
            new Command("serve", "Runs the service (the same as no command).") { Action = new ServeAction(serve) },
            ApplyCommand.Create(settings),
            ResourcesCommands.Create(settings),
            ClientsCommands.Create(settings),
            KeysCommands.Create(settings),
            NewKeyCommand.Create(),
            AssertionCommand.Create(settings),
            ExplainCommand.Create(settings),
            AuditCommands.Create(settings),
        };
        root.Action = new ServeAction(serve);
        root.Options.OfType<VersionOption>().Single().Action = new VersionAction();
        return root;
    }

    private sealed class ServeAction(Func<Task> serve) : AsynchronousCommandLineAction
    {
        public override async Task<int> InvokeAsync(ParseResult parseResult, CancellationToken cancellationToken = default)
        {
            await serve();
            return 0;
        }
    }

    // The runtime is a part of the compiled program: an update of the machine's runtime repairs nothing in it, a new build does.
    private sealed class VersionAction : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parseResult)
        {
            var version = typeof(CommandLine).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;
            Console.Out.WriteLine($"TokenService {version}, {RuntimeInformation.FrameworkDescription}");
            return 0;
        }
    }
}
