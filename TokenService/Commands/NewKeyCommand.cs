using System;
using System.CommandLine;
using System.IO;
using System.Security.Cryptography;
using System.Text;
using TokenService.Keys;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Commands;

/// <summary><c>new-key</c>: a key pair for a client. The private key goes into a file, the public one to standard output.</summary>
internal static class NewKeyCommand
{
    public static Command Create()
    {
        var file = new Option<string>("--out") { Description = "The file for the private key (PEM, mode 0600); it may not be there yet.", Required = true, HelpName = "FILE" };
        var algorithm = new Option<string>("--alg")
        {
            Description = $"What the key signs with: {string.Join(", ", AssertionAlgorithms.PrivateKey)}.",
            HelpName = "ALG",
            DefaultValueFactory = _ => SigningAlgorithms.RS256,
        };
        algorithm.AcceptOnlyFromAmong([.. AssertionAlgorithms.PrivateKey]);
        var command = new Command("new-key", "Makes a key pair for a client. Its public key is printed as a JWKS, for \"clients add --jwks\".") { file, algorithm };
        command.SetAction(parsed =>
        {
            var path = parsed.GetRequiredValue(file) is { Length: > 0 } name
                ? Path.GetFullPath(name)
                : throw new OperatorFaultException("--out must name a file.");
            var key = SigningKey.Generate(parsed.GetRequiredValue(algorithm));
            if (!Write(path, key))
            {
                throw new OperatorFaultException($"The file {path} is there already; a private key is never overwritten.");
            }

            try
            {
                CommandOutput.WriteJson(new Jwks { Keys = [key.PublicKey] }, ProtocolJson.Default.Jwks);
            }
            catch (IOException fault)
            {
                // Its public key is of no use where nobody has seen it, and the name would be taken.
                File.Delete(path);
                throw new OperatorFaultException($"The public key cannot be printed, so no key was made: {fault.Message}", fault);
            }

            Console.Error.WriteLine($"The private key is in {path}. Register what stands on standard output with \"clients add --auth private_key_jwt --jwks FILE\".");
        });
        return command;
    }

    private static bool Write(string path, SigningKey key)
    {
        var privateKey = key.ExportPrivateKey();
        var pem = Encoding.ASCII.GetBytes(PemEncoding.WriteString("PRIVATE KEY", privateKey) + "\n");
        try
        {
            return DurableFile.Create(path, pem);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new OperatorFaultException($"The file {path} cannot be made: {fault.Message}", fault);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(privateKey);
            CryptographicOperations.ZeroMemory(pem);
        }
    }
}
