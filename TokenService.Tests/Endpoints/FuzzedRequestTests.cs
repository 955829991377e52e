using System;
using System.Linq;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using FluentAssertions;
using Fuzz;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Endpoints;

/// <summary>Mutated requests as raw HTTP, and what no caller may learn from a refusal.</summary>
[Trait("Storage", "Sqlite")]
public sealed class FuzzedRequestTests(ITestOutputHelper output)
{
    [Fact]
    public async Task No_request_gets_a_5xx_hangs_or_gets_a_token_that_should_not_be()
    {
        // What lands a change goes by the change alone; the long form looks elsewhere each time.
        var seed = LongForm.IsOn ? (ulong)Random.Shared.NextInt64() : 1;
        using var folder = new TemporaryFolder();
        await using var service = await RunningService.Start(folder, null, Corpus.Clients(folder.Path), "--TokenService:RateLimit:FailuresPerMinute=0");

        var report = await SocketRun.Run(service.Url, LongForm.Of(5_000, 50_000), seed);
        output.WriteLine($"seed {seed}\n{report}");

        report.Findings.Should().BeEmpty($"seed {seed}");
        report.Counts["well at the end"].Should().Be(1);
        report.Counts["tokens"].Should().BeGreaterThan(report.Inputs / 50, "what only ever sees refusals shows nothing");
        report.Counts["live tokens"].Should().BePositive();
        await HasWrittenNoSecret(service);
    }

    [Fact]
    public void A_secret_of_the_corpus_is_found_where_it_stands_by_itself_and_nowhere_else()
    {
        const string secret = "basic-phrase-0123456789abcdef0123456789";

        foreach (var written in (string[])[secret, $"an unknown client \"{secret}\" came", $"scope={secret} {secret}x", $"https://x/?key={secret}&a", $"{secret}, and", $"x\n{secret}\n"])
        {
            Alone(secret).IsMatch(written).Should().BeTrue(written);
        }

        foreach (var written in (string[])["", secret[..^1], $"{secret}x", $"x{secret}", $"\"{secret}-0123\"", $"\\u0000{secret}", secret.ToUpperInvariant()])
        {
            Alone(secret).IsMatch(written).Should().BeFalse(written);
        }
    }

    [Fact]
    [Trait("Host", "OwnProgram")]
    public async Task An_unknown_client_a_wrong_secret_another_method_and_a_disabled_client_read_the_same()
    {
        await using var service = await FuzzedService.Start(Repository.Program, _ => Timing.Clients, Timing.Settings, Timing.Disabled);

        var report = await Timing.Run(service.Url, samples: 25, seed: 1);

        report.Inputs.Should().Be(100);
        report.Findings.Where(finding => finding.StartsWith("the text tells", StringComparison.Ordinal)).Should().BeEmpty();
    }

    // The secrets of the corpus carry no marker: changed, they are none, and may be shown.
    private static async Task HasWrittenNoSecret(RunningService service)
    {
        // What is logged and kept is written in order: with this refusal all before it is there.
        const string last = "the-last-one";
        (await service.Token($"grant_type={last}", $"post-job:{last}")).Status.Should().Be(401);
        (await service.Token($"grant_type={last}", $"basic-job:{KnownSecrets.All["basic-job"].Secret}")).Error.Should().Be("unsupported_grant_type");
        await StoreFile.Until(() => StoreFile.Texts(service.Folder, "SELECT came FROM refusals").Exists(came => came.Contains(last, StringComparison.Ordinal)));
        await StoreFile.Until(() => service.Logged is var log && (log.Contains(last, StringComparison.Ordinal) || log.Length >= CanaryWatch.MostLog));

        string[] columns = ["trace_id", "address", "client_id", "error", "failed_check", "expected", "came"];
        foreach (var (place, written) in ((string, string)[])
        [
            ("the log", service.Logged),
            .. columns.Select(column => ($"the column {column}", string.Join('\n', StoreFile.Texts(service.Folder, $"SELECT COALESCE({column}, '') FROM refusals")))),
        ])
        {
            foreach (var secret in KnownSecrets.All.Values.Select(known => known.Secret).Where(secret => !secret.Contains(' ', StringComparison.Ordinal)).Append(Corpus.MacSecret))
            {
                Alone(secret).Matches(written).Select(found => written[Math.Max(0, found.Index - 200)..found.Index]).Should().BeEmpty($"{secret} stands in {place}");
            }
        }

        service.Logged.Should().Contain("***", "what only ever has no secret in it shows nothing");
    }

    // As a word, or as a part of a URI or of credentials.
    private static Regex Alone(string secret) => new($"(?<![^\\s\"/?#&=:,;@]){Regex.Escape(secret)}(?![^\\s\"/?#&=:,;@])", RegexOptions.CultureInvariant);
}
