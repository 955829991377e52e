using System;
using System.Globalization;
using System.IO;
using System.Security.Cryptography;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging;

namespace Floor;

/// <summary>The least that a token can cost here: one HTTP request, one bare signature or none, one constant answer.</summary>
/// <remarks>It signs and answers as many bytes as the service does, under the same headers and in the same server.</remarks>
public static class Program
{
    /// <summary>Listens at <c>--urls</c>.</summary>
    /// <param name="args">
    /// Settings; <c>--Signature</c> is <c>None</c>, <c>RS256</c> or <c>ES256</c>, <c>--Key</c> the file of the key for it (PEM), <c>--InputBytes</c>
    /// the length of what is signed, <c>--AnswerBytes</c> that of the answer.
    /// </param>
    public static void Main(string[] args)
    {
        var builder = WebApplication.CreateSlimBuilder(args);
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.AddServerHeader = false);
        builder.Logging.ClearProviders();
        var input = RandomNumberGenerator.GetBytes(Length(builder.Configuration, "InputBytes", 440));
        var answer = Answer(Length(builder.Configuration, "AnswerBytes", 780));
        var sign = Signer(builder.Configuration);

        var app = builder.Build();
        app.MapPost("/oauth2/token", async (HttpContext http) =>
        {
            await ReadToEnd(http);
            sign(input);
            await Write(http.Response, answer, http.RequestAborted);
        });
        app.Run();
    }

    // One key object for each thread, as nothing promises that several can share one.
    private static Action<byte[]> Signer(ConfigurationManager settings)
    {
        switch (settings["Signature"])
        {
            case "None":
                return _ => { };
            case "RS256":
                var rsa = PerThread(RSA.Create, settings);
                var rsaLength = rsa.Value!.KeySize / 8;
                return input => rsa.Value!.SignData(
                    input, stackalloc byte[rsaLength], HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
            case "ES256":
                var ecdsa = PerThread(ECDsa.Create, settings);
                var ecdsaLength = ecdsa.Value!.KeySize / 8 * 2;
                return input => ecdsa.Value!.SignData(
                    input, stackalloc byte[ecdsaLength], HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
            default:
                throw new ArgumentException("--Signature is None, RS256 or ES256.", nameof(settings));
        }
    }

    private static ThreadLocal<T> PerThread<T>(Func<T> create, ConfigurationManager settings)
        where T : AsymmetricAlgorithm
    {
        var pem = File.ReadAllText(settings["Key"] ?? throw new ArgumentException("--Key is missing.", nameof(settings)));
        return new(() =>
        {
            var key = create();
            key.ImportFromPem(pem);
            return key;
        });
    }

    private static int Length(ConfigurationManager settings, string name, int otherwise)
        => settings[name] is { } text ? int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture) : otherwise;

    private static byte[] Answer(int length)
    {
        const string Start = "{\"access_token\":\"";
        const string End = "\"}";
        return Encoding.ASCII.GetBytes(Start + new string('x', length - Start.Length - End.Length) + End);
    }

    private static async Task ReadToEnd(HttpContext http)
    {
        while (true)
        {
            var read = await http.Request.BodyReader.ReadAsync(http.RequestAborted);
            http.Request.BodyReader.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted)
            {
                return;
            }
        }
    }

    private static async Task Write(HttpResponse response, ReadOnlyMemory<byte> json, CancellationToken cancellation)
    {
        response.StatusCode = StatusCodes.Status200OK;
        response.ContentType = "application/json";
        response.ContentLength = json.Length;
        response.Headers.CacheControl = "no-store";
        response.Headers.Pragma = "no-cache";
        await response.BodyWriter.WriteAsync(json, cancellation);
    }
}
