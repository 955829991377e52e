using System;
using System.CommandLine;
using System.Linq;
using System.Text;
using TokenService.Administration;
using TokenService.Keys;
using TokenService.Operations;
using TokenService.Protocol;

namespace TokenService.Commands;

/// <summary><c>assertion</c>: signs a client assertion, for curl and scripts.</summary>
internal static class AssertionCommand
{
    public static Command Create(Func<Settings> settings)
    {
        var client = new Option<string>("--client") { Description = "The client id.", Required = true, HelpName = "ID" };
        var key = new Option<string>("--key") { Description = "The client's private key (PEM), as new-key writes it.", Required = true, HelpName = "FILE" };
        var audience = new Option<string?>("--audience") { Description = "Whom it is for: the issuer of the service (the configured one where left out).", HelpName = "URL" };
        var lifetime = new Option<TimeSpan>("--lifetime")
        {
            Description = "How long it may be used, once: 30s, 5m, at most 10m.",
            HelpName = "DURATION",
            CustomParser = Duration.Parse,
            DefaultValueFactory = _ => TimeSpan.FromSeconds(60),
        };
        var algorithm = new Option<string?>("--alg") { Description = "What it is signed with, where that is not RS256 or what goes with the curve of the key.", HelpName = "ALG" };
        algorithm.AcceptOnlyFromAmong([.. AssertionAlgorithms.PrivateKey]);
        var command = new Command("assertion", "Prints a signed client assertion (RFC 7523), good for one token request.") { client, key, audience, lifetime, algorithm };
        command.SetAction(parsed =>
        {
            if (parsed.GetRequiredValue(client) is not { Length: > 0 } id || id.Any(c => c is < ' ' or > '~') || parsed.GetValue(audience) is "")
            {
                throw new OperatorFaultException("--client must be a client id, in printable ASCII, and --audience must not be empty.");
            }

            var issuer = parsed.GetValue(audience) ?? settings().CommandIssuer
                ?? throw new OperatorFaultException("TokenService:Issuer is not set; name the issuer with --audience.");
            var assertion = ClientAssertionWriter.Write(
                id, Read(parsed.GetRequiredValue(key), parsed.GetValue(algorithm)), issuer, parsed.GetValue(lifetime), TimeProvider.System.GetUtcNow());
            if (parsed.GetValue(CommandLine.Json))
            {
                CommandOutput.WriteJson(
                    new AssertionListing(ClientAssertionTypes.JwtBearer, assertion), ListingJson.Default.AssertionListing);
            }
            else
            {
                Console.Out.WriteLine(assertion);
            }
        });
        return command;
    }

    private static SigningKey Read(string file, string? algorithm)
        => SigningKey.ImportPem(Encoding.UTF8.GetString(InputFile.Read(file)), algorithm) ?? throw new OperatorFaultException(
            $"The file {file} has no private key in PEM that is not encrypted, of RSA with 2048 bits or more or EC on P-256, P-384 or P-521" +
            (algorithm is null ? "." : $", for {algorithm}."));
}
