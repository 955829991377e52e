using System;
using System.Collections.Immutable;
using System.CommandLine;
using System.IO;
using System.Linq;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Commands;

/// <summary><c>explain</c>: why a request was refused, or what is wrong with a client assertion.</summary>
internal static class ExplainCommand
{
    // More than any assertion; so much of a file is read and no more.
    private const int MaxFileBytes = 64 * 1024;

    public static Command Create(Func<Settings> settings)
    {
        var trace = new Argument<string?>("TRACE_ID")
        {
            Description = "The trace_id of a refusal, from its answer or from the log.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var client = new Option<string?>("--client") { Description = "With --assertion: the client id.", HelpName = "ID" };
        var file = new Option<string?>("--assertion")
        {
            Description = "List every fault of the client assertion in this file, \"-\" for standard input. It is not used up.",
            HelpName = "FILE",
        };
        var command = new Command(
            "explain",
            "Tells why a request was refused: which check failed, what was expected and what came. Or, with --client and --assertion, every fault of a " +
            "client assertion: the exit status is 1 where there is one.")
        {
            trace,
            client,
            file,
        };
        command.Validators.Add(result =>
        {
            var (id, path) = (result.GetValue(client), result.GetValue(file));
            var traceId = result.GetValue(trace);
            if (traceId is null ? id is null || path is null : id is not null || path is not null || traceId.StartsWith('-'))
            {
                result.AddError("Name either a TRACE_ID or both --client and --assertion.");
            }
        });
        command.SetAction((parsed, cancellation) => parsed.GetValue(trace) is { } traceId
            ? Task.FromResult(Refusals(traceId, settings(), parsed.GetValue(CommandLine.Json)))
            : Assertion(parsed.GetValue(client)!, parsed.GetValue(file)!, settings(), parsed.GetValue(CommandLine.Json), cancellation));
        return command;
    }

    private static int Refusals(string traceId, Settings settings, bool json)
    {
        using var store = Store.Open(settings);
        var refusals = store.FindRefusals(traceId.Trim().ToLowerInvariant());
        if (refusals.Count == 0)
        {
            throw new OperatorFaultException(
                $"No refusal with the trace_id {Printable.Quote(traceId)} is kept in this store: only the last {RefusalStore.MostKept} are, each from " +
                "about a second after its answer. The log may have more.");
        }

        if (json)
        {
            CommandOutput.WriteJson([.. refusals.Select(Listing.Of)], ListingJson.Default.RefusalListingArray);
            return 0;
        }

        foreach (var (i, refusal) in refusals.Index())
        {
            Console.Out.Write(i > 0 ? "\n" : "");
            WriteLines(refusal.Lines.AsSpan());
        }

        return 0;
    }

    private static async Task<int> Assertion(string clientId, string file, Settings settings, bool json, CancellationToken cancellation)
    {
        var issuer = settings.CommandIssuer
            ?? throw new OperatorFaultException("TokenService:Issuer is not set, and aud cannot be checked without it; set it as the service has it.");
        var text = Read(file);
        using var store = Store.Open(settings);
        var registry = Read(store, clientId);
        var client = registry.FindClient(clientId);
        using var keySets = new ClientKeySets(
            TimeProvider.System, (uri, fault) => Console.Error.WriteLine($"The key set at {uri.AbsoluteUri} cannot be fetched: {fault}"));
        var faults = await ClientAssertionFaults.Find(
            text,
            clientId,
            registry,
            settings.AssertionAudiences(issuer),
            keySets,
            (tokenId, keepUntil) => store.WasUsed(clientId, tokenId, keepUntil),
            TimeProvider.System.GetUtcNow(),
            cancellation);
        Write(faults, clientId, client is not null && AuthenticationMethods.IsWorkload(client.AuthenticationMethod), json);
        if (client?.JwksUri is { } uri)
        {
            Console.Error.WriteLine($"The keys of the client are at {uri.AbsoluteUri} and were looked for there now; a running service may still have those of its last fetch.");
        }

        return faults.IsEmpty ? 0 : 1;
    }

    private static void Write(ImmutableArray<FailedCheck> faults, string clientId, bool isReusable, bool json)
    {
        if (json)
        {
            CommandOutput.WriteJson([.. faults.Select(Listing.Of)], ListingJson.Default.FaultListingArray);
        }
        else if (faults.IsEmpty)
        {
            Console.Out.WriteLine($"The assertion is right: client {Printable.Quote(clientId)} would be authenticated with it, {(isReusable ? "until it expires" : "once")}.");
        }
        else
        {
            foreach (var (i, fault) in faults.Index())
            {
                Console.Out.Write(i > 0 ? "\n" : "");
                WriteLines(("check", fault.Name), ("expected", fault.Expected), ("came", fault.Came));
            }
        }

        if (!faults.IsEmpty)
        {
            Console.Error.WriteLine($"The assertion has {faults.Length} {(faults.Length == 1 ? "fault" : "faults")} and would be refused.");
        }
    }

    // Secrets are opened only where one is needed: the operator who asks need not be able to read the master key.
    private static Registry Read(Store store, string clientId)
    {
        var registry = store.Registry.Read();
        return registry.FindClient(clientId)?.AuthenticationMethod == AuthenticationMethods.ClientSecretJwt ? store.Registry.ReadWithSecrets() : registry;
    }

    private static string Read(string file)
    {
        try
        {
            using var stream = file == "-" ? Console.OpenStandardInput() : File.OpenRead(file);
            var bytes = new byte[MaxFileBytes + 1];
            var length = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            if (length > MaxFileBytes)
            {
                throw new OperatorFaultException(
                    $"The file {file} is larger than {MaxFileBytes} bytes: it holds something else than a client assertion, of at most {ClientAssertion.MaxLength} characters.");
            }

            // A line break is what an editor or a shell adds; anything else is a fault.
            return Encoding.UTF8.GetString(bytes, 0, length).TrimEnd('\r', '\n');
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new OperatorFaultException($"The file {file} cannot be read: {fault.Message}", fault);
        }
    }

    private static void WriteLines(params ReadOnlySpan<(string Name, string Value)> lines)
    {
        foreach (var (name, value) in lines)
        {
            Console.Out.WriteLine($"{name,-11}{value}");
        }
    }
}
