using System;
using System.Collections.Immutable;
using System.CommandLine;
using System.Globalization;
using System.IO;
using System.Linq;
using TokenService.Clients;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Commands;

/// <summary><c>audit verify</c>: whether an audit log is as it was written.</summary>
internal static class AuditCommands
{
    private const string StandardInput = "-";

    public static Command Create(Func<Settings> settings) => new("audit", "The audit log (TokenService:Audit:File).") { Verify(settings) };

    private static Command Verify(Func<Settings> settings)
    {
        var files = new Argument<string[]>("FILE")
        {
            Description = "The audit log, or several files of one, the oldest first; \"-\" for standard input.",
            Arity = ArgumentArity.OneOrMore,
        };
        var jwks = new Option<string?>("--jwks")
        {
            Description = "The JWKS with the keys that signed it; those of the store where left out.",
            HelpName = "FILE",
        };
        var complete = new Option<bool>("--complete") { Description = "Refuse a log that does not end as one does whose service was stopped, or moved on to the next file." };
        var command = new Command(
            "verify", "Checks that no record was changed, dropped or moved, and names the first that was: the exit status is 1 then.") { files, jwks, complete };
        command.SetAction(parsed =>
        {
            var keys = parsed.GetValue(jwks) is { } file ? Read(file) : Keys(settings());
            var verification = new AuditVerification(kid => keys.FirstOrDefault(key => key.Jwk.Kid == kid));
            foreach (var name in parsed.GetRequiredValue(files))
            {
                Read(name, verification);
            }

            verification.End();
            return Tell(verification, parsed.GetValue(complete), parsed.GetValue(CommandLine.Json));
        });
        return command;
    }

    private static int Tell(AuditVerification log, bool complete, bool json)
    {
        var fault = log.Fault is { } found ? Words(found)
            : complete && !log.IsEnded ? $"It does not end: behind record {Number(log.Last!.Sequence)} the record is missing that a service writes as it ends."
            : null;
        if (json)
        {
            CommandOutput.WriteJson(
                new AuditListing
                {
                    Records = log.Records,
                    FirstSeq = log.First,
                    LastSeq = log.Last?.Sequence,
                    LastHash = log.Last?.Hash,
                    SignedSeq = log.LastSigned?.Sequence,
                    Chains = log.Chains,
                    OpenRuns = log.OpenRuns,
                    NotSigned = log.NotSigned,
                    TornBytes = log.TornBytes,
                    Ended = log.IsEnded,
                    Fault = fault,
                    FaultFile = log.Fault is { Line: > 0 } at ? at.File : null,
                    FaultLine = log.Fault is { Line: > 0 } place ? place.Line : null,
                    FaultSeq = log.Fault?.Sequence,
                },
                ListingJson.Default.AuditListing);
            return fault is null ? 0 : 1;
        }

        if (fault is not null)
        {
            Console.Error.WriteLine(fault);
        }

        if (log.Last is { } last && log.Fault is null)
        {
            Console.Out.WriteLine($"Records {Number(log.First!.Value)} to {Number(last.Sequence)} are as they were written; the last has the hash {last.Hash}.");
            Console.Out.WriteLine($"Signed up to record {Number(log.LastSigned!.Sequence)}, {log.LastSigned.Time}, with the key {log.LastSigned.Kid}.");
            if (log.NotSigned > 0)
            {
                Console.Out.WriteLine(
                    $"Records that no signature vouches for: {Number(log.NotSigned)}, behind the last one of {(log.Chains > 1 ? "their chains" : "all")}. Whoever can write the file can have changed or made them.");
            }

            if (log.First > 1)
            {
                Console.Out.WriteLine($"It goes on behind record {Number(log.First.Value - 1)} of an earlier file, which was not looked at.");
            }

            if (log.Chains > 1)
            {
                Console.Out.WriteLine($"It has {Number(log.Chains)} chains, each from a start of its own. That none is missing between them, cannot be seen.");
            }

            if (log.OpenRuns > 0)
            {
                Console.Out.WriteLine(
                    $"Runs of the service without an end: {Number(log.OpenRuns)}. Each was killed, goes on still, or had its last records cut off: what is gone behind the last record cannot be seen.");
            }

            if (log.TornBytes > 0)
            {
                Console.Out.WriteLine($"The last line is cut off after {Number(log.TornBytes)} bytes, and not counted: it is being written, the service was killed, or the file was cut.");
            }
        }

        return fault is null ? 0 : 1;
    }

    private static string Words(AuditFault fault)
        => fault.Line == 0 ? $"{char.ToUpperInvariant(fault.What[0])}{fault.What[1..]}." : $"{fault.File}, line {Number(fault.Line)}: {fault.What}.";

    private static ImmutableArray<ClientKey> Keys(Settings settings)
    {
        using var store = Store.Open(settings);
        return store.PublicKeys();
    }

    private static ImmutableArray<ClientKey> Read(string file)
    {
        var read = StrictJson.ReadObject(InputFile.Read(file)) is { } set ? ClientKeyReader.Read(set) : null;
        return read is { Keys.IsEmpty: false } ? read.Keys : throw new OperatorFaultException(
            $"The file {file} is no JWKS{(read is null ? "" : $": {string.Join("; ", read.FaultTexts)}")}.");
    }

    // Line by line: it may be of any size.
    private static void Read(string file, AuditVerification verification)
    {
        try
        {
            using var stream = file == StandardInput ? Console.OpenStandardInput() : new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var buffer = new byte[64 * 1024];
            var (length, line) = (0, 0L);
            while (true)
            {
                var read = stream.Read(buffer, length, buffer.Length - length);
                length += read;
                var begin = 0;
                while (buffer.AsSpan(begin, length - begin).IndexOf((byte)'\n') is >= 0 and var end)
                {
                    verification.Add(buffer.AsSpan(begin, end), hasEnd: true, file, ++line);
                    begin += end + 1;
                }

                length -= begin;
                buffer.AsSpan(begin, length).CopyTo(buffer);
                if (read == 0)
                {
                    break;
                }

                if (length > AuditLine.MaxBytes)
                {
                    throw new OperatorFaultException($"{file}, line {Number(line + 1)}: it is longer than any audit record.");
                }

                if (length == buffer.Length)
                {
                    Array.Resize(ref buffer, 2 * buffer.Length);
                }
            }

            if (length > 0)
            {
                verification.Add(buffer.AsSpan(0, length), hasEnd: false, file, line + 1);
            }
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new OperatorFaultException($"The file {file} cannot be read: {fault.Message}", fault);
        }
    }

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);
}
