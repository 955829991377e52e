using System;
using System.Linq;
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
    }

    [Fact]
    [Trait("Host", "OwnProgram")]
    public async Task An_unknown_client_a_wrong_secret_another_method_and_a_disabled_client_read_the_same()
    {
        await using var service = await FuzzedService.Start(Repository.Program, _ => Timing.Clients, Timing.Disabled);

        var report = await Timing.Run(service.Url, samples: 25, seed: 1);

        report.Inputs.Should().Be(100);
        report.Findings.Where(finding => finding.StartsWith("the text tells", StringComparison.Ordinal)).Should().BeEmpty();
    }
}
