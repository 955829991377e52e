using System;
using System.Buffers.Text;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Threading;

namespace Assertions;

/// <summary>Signs many client assertions (RFC 7523 §2.2) with RS256: one serves for one request only, and wrk cannot sign.</summary>
/// <remarks>
/// With nothing but the platform's own cryptography and on all cores, so that the load never waits long and the assertions are young.
/// They are as <c>TokenService assertion</c> makes them, except that they live for as long as the service allows.
/// </remarks>
public static class Program
{
    private const string Header = """{"alg":"RS256","typ":"client-authentication+jwt"}""";

    private static readonly TimeSpan s_lifetime = TimeSpan.FromMinutes(10);

    /// <summary>Writes them to standard output, one a line.</summary>
    /// <param name="args">The file with the private key (RSA, PEM), the client id, the issuer of the service, and how many.</param>
    /// <returns>0 done, 2 wrong usage.</returns>
    public static int Main(string[] args)
    {
        if (args is not [var keyFile, var clientId, var issuer, var number]
            || !int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var count))
        {
            Console.Error.WriteLine("Usage: Assertions KEY_FILE CLIENT_ID ISSUER COUNT");
            return 2;
        }

        var pem = File.ReadAllText(keyFile);

        // One RSA object for each thread, as nothing promises that several can share one.
        using var rsa = new ThreadLocal<RSA>(() => Read(pem));
        var assertions = ParallelEnumerable.Range(0, count).Select(_ => Write(rsa.Value!, clientId, issuer, DateTimeOffset.UtcNow)).ToArray();

        // As bytes: the console would flush after each line.
        using var output = Console.OpenStandardOutput();
        output.Write(Encoding.ASCII.GetBytes(string.Concat(assertions.Select(assertion => assertion + "\n"))));
        return 0;
    }

    private static RSA Read(string pem)
    {
        var rsa = RSA.Create();
        rsa.ImportFromPem(pem);
        return rsa;
    }

    private static string Write(RSA rsa, string clientId, string issuer, DateTimeOffset now)
    {
        var jti = Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(16));
        var claims = string.Create(
            CultureInfo.InvariantCulture,
            $$"""{"iss":{{Json(clientId)}},"sub":{{Json(clientId)}},"aud":{{Json(issuer)}},"iat":{{now.ToUnixTimeSeconds()}},"exp":{{(now + s_lifetime).ToUnixTimeSeconds()}},"jti":"{{jti}}"}""");
        var content = $"{Encode(Header)}.{Encode(claims)}";
        var signature = rsa.SignData(Encoding.ASCII.GetBytes(content), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        return $"{content}.{Base64Url.EncodeToString(signature)}";
    }

    private static string Json(string text) => $"\"{JsonEncodedText.Encode(text)}\"";

    private static string Encode(string text) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(text));
}
