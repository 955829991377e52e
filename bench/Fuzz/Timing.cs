using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Text.RegularExpressions;
using System.Threading.Tasks;

namespace Fuzz;

/// <summary>Measures whether the time of an answer tells which clients there are: four requests of equal length, all refused, in turn over one connection.</summary>
internal static partial class Timing
{
    private const string Wrong = "wrong-phrase-0123456789abcdef0123456789";

    // Ids and secrets of equal length each: nothing that is sent takes longer.
    private static readonly (string Class, string Id, string Secret)[] s_classes =
    [
        ("unknown client", "absent-job", Wrong),
        ("wrong secret", "known-job1", Wrong),
        ("right secret, wrong method", "method-job", "right-phrase-0123456789abcdef0123456789"),
        ("disabled client", "closed-job", "right-phrase-0123456789abcdef0123456789"),
    ];

    /// <summary>The clients.</summary>
    public const string Clients = """
        { "resources": [ { "resource": "urn:a", "scopes": [ { "name": "a" } ] } ],
          "clients": [
            { "client_id": "known-job1", "client_secret": "known-phrase-0123456789abcdef0123456789", "scope": "a" },
            { "client_id": "method-job", "client_secret": "right-phrase-0123456789abcdef0123456789", "scope": "a", "token_endpoint_auth_method": "client_secret_post" },
            { "client_id": "closed-job", "client_secret": "right-phrase-0123456789abcdef0123456789", "scope": "a" } ] }
        """;

    /// <summary>The client that is switched off.</summary>
    public const string Disabled = "closed-job";

    /// <summary>
    /// The settings: as a service runs, with the level of the log that it has where nothing is set, with failures counted, though none is one too many, and with an audit log.
    /// </summary>
    public static readonly ImmutableArray<string> Settings = ["--TokenService:RateLimit:FailuresPerMinute=2147483647", "--TokenService:Audit:File=audit.log"];

    /// <summary>Measures.</summary>
    /// <param name="url">Where the service listens, with <see cref="Settings"/>.</param>
    /// <param name="samples">How many of each kind.</param>
    /// <param name="seed">What the order in each round follows from.</param>
    /// <returns>The medians and how they differ, and a finding where the texts differ, or the medians by 1 % or more.</returns>
    public static async Task<Report> Run(Uri url, long samples, ulong seed)
    {
        var requests = s_classes.Select(Request).ToArray();
        var times = s_classes.Select(_ => new List<double>()).ToArray();
        var texts = s_classes.Select(_ => new HashSet<string>(StringComparer.Ordinal)).ToArray();
        var dice = new Dice(seed, 0);
        using var connection = await RawConnection.Open(url);
        var since = Stopwatch.StartNew();
        var warmUp = Math.Min(samples, 5_000);
        for (var round = -warmUp; round < samples; round++)
        {
            foreach (var which in Order(dice))
            {
                var start = Stopwatch.GetTimestamp();
                await connection.Send(requests[which]);
                var answer = await connection.Read(TimeSpan.FromSeconds(10)) ?? throw new InvalidOperationException("No answer.");
                var took = Stopwatch.GetElapsedTime(start).TotalMicroseconds;
                texts[which].Add(Differing().Replace($"{answer.Head}\r\n\r\n{answer.Body}", "$1…"));
                if (round >= 0)
                {
                    times[which].Add(took);
                }
            }
        }

        var notes = new Notes();
        var medians = times.Select(Median).ToArray();
        foreach (var (index, (name, _, _)) in s_classes.Index())
        {
            // Two halves of the same class, sample by sample: what differs there is noise.
            var (even, odd) = (Median([.. times[index].Where((_, i) => i % 2 == 0)]), Median([.. times[index].Where((_, i) => i % 2 == 1)]));
            notes.Count(string.Create(
                CultureInfo.InvariantCulture,
                $"samples of {name}: median {medians[index]:0.00} µs, {100 * ((medians[index] / medians[0]) - 1):+0.00;-0.00} % from the first; its halves differ by {100 * ((even / odd) - 1):+0.00;-0.00} %"),
                times[index].Count);
        }

        var apart = (medians.Max() / medians.Min()) - 1;
        notes.Count(string.Create(CultureInfo.InvariantCulture, $"% is the greatest difference of two medians, in hundredths: {100 * apart:0.00}"), (long)(10_000 * apart));
        if (apart >= 0.01)
        {
            notes.Find("time tells", string.Create(CultureInfo.InvariantCulture, $"two medians differ by {100 * apart:0.00} %"));
        }

        if (texts.SelectMany(text => text).Distinct(StringComparer.Ordinal).Count() != 1)
        {
            notes.Find("the text tells", string.Join('\n', texts.SelectMany(text => text).Distinct(StringComparer.Ordinal)));
        }

        return notes.End(samples * s_classes.Length, since.Elapsed);
    }

    private static byte[] Request((string Class, string Id, string Secret) one)
    {
        const string Form = "grant_type=client_credentials";
        var basic = Convert.ToBase64String(Encoding.ASCII.GetBytes($"{one.Id}:{one.Secret}"));
        return Encoding.ASCII.GetBytes(string.Create(
            CultureInfo.InvariantCulture,
            $"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {Form.Length}\r\n\r\n{Form}"));
    }

    private static int[] Order(Dice dice)
    {
        int[] order = [.. Enumerable.Range(0, s_classes.Length)];
        for (var i = order.Length - 1; i > 0; i--)
        {
            var other = dice.Below(i + 1);
            (order[i], order[other]) = (order[other], order[i]);
        }

        return order;
    }

    private static double Median(List<double> times)
    {
        var sorted = times.Order().ToList();
        return sorted.Count == 0 ? 0 : (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;
    }

    [GeneratedRegex("(\"trace_id\":\"|\\r\\nDate: )[^\"\\r]*")]
    private static partial Regex Differing();
}
