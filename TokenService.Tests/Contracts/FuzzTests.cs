using System;
using FluentAssertions;
using Fuzz;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Contracts;

/// <summary>A share of what bench/Fuzz does by the million; a finding says by which seed and index it is made again.</summary>
[Trait("Storage", "Sqlite")]
public sealed class FuzzTests(ITestOutputHelper output)
{
    // What lands a change goes by the change alone; the long form looks elsewhere each time.
    private static readonly ulong s_seed = LongForm.IsOn ? (ulong)Random.Shared.NextInt64() : 1;

    [Fact]
    public void Whatever_is_sent_is_read_without_an_exception_and_at_once()
    {
        var report = InProcess.Run(LongForm.Of(100_000, 2_000_000), s_seed);
        output.WriteLine($"seed {s_seed}\n{report}");

        report.Findings.Should().BeEmpty($"seed {s_seed}");
        foreach (var name in (string[])["form", "basic", "assertion", "explain", "proof", "token", "jwks", "file", "words", "scope", "text", "certificate", "chain"])
        {
            report.Counts.Should().ContainKey($"{name}: accepted", "what only ever sees refusals shows nothing");
            report.Counts.Should().ContainKey($"{name}: refused");
        }
    }

    [Fact]
    public void The_JWT_library_and_the_service_judge_mutated_assertions_alike_but_for_the_differences_that_are_meant()
    {
        var report = Differential.Run(LongForm.Of(20_000, 1_000_000), s_seed);
        output.WriteLine($"seed {s_seed}\n{report}");

        report.Findings.Should().BeEmpty($"seed {s_seed}");
        report.Counts["both accept"].Should().BeGreaterThan(report.Inputs / 20);
        report.Counts["both refuse"].Should().BeGreaterThan(report.Inputs / 2);
    }

    [Fact]
    public void Each_difference_that_is_meant_is_in_the_docs()
    {
        var page = System.IO.File.ReadAllText(Repository.File("docs", "fuzzing.md"));

        Differential.Stricter.Keys.Should().OnlyContain(name => page.Contains($"`{name}`", StringComparison.Ordinal));
    }
}
