using System;
using System.Globalization;
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

/// <summary>The least that an RS256 token can cost here: one HTTP request, one bare RSA-2048 signature, one constant answer.</summary>
/// <remarks>It signs and answers as many bytes as the service does, under the same headers and in the same server.</remarks>
public static class Program
{
    private const int RsaBits = 2048;

    /// <summary>Listens at <c>--urls</c>.</summary>
    /// <param name="args">Settings; <c>--InputBytes</c> is the length of what is signed, <c>--AnswerBytes</c> that of the answer.</param>
    public static void Main(string[] args)
    {
        var builder = WebApplication.CreateSlimBuilder(args);
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.AddServerHeader = false);
        builder.Logging.ClearProviders();
        var input = RandomNumberGenerator.GetBytes(Length(builder.Configuration, "InputBytes", 440));
        var answer = Answer(Length(builder.Configuration, "AnswerBytes", 780));

        // One RSA object for each thread, as nothing promises that several can share one.
        using var made = RSA.Create(RsaBits);
        var key = made.ExportParameters(includePrivateParameters: true);
        using var rsa = new ThreadLocal<RSA>(() => RSA.Create(key));

        var app = builder.Build();
        app.MapPost("/oauth2/token", async (HttpContext http) =>
        {
            await ReadToEnd(http);
            rsa.Value!.SignData(input, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
            await Write(http.Response, answer, http.RequestAborted);
        });
        app.Run();
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
