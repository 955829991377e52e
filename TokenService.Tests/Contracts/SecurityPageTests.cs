using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Text.RegularExpressions;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>The threat model names tests and files that there are, and leaves out no threat of the two RFCs.</summary>
public sealed partial class SecurityPageTests
{
    private static readonly string s_page = File.ReadAllText(Repository.File("SECURITY.md"));

    private static IReadOnlyList<string[]> Threats => [.. s_page.Split("## Threats")[1].Split("## What is not met")[0].Split('\n')
        .Where(line => line.StartsWith("| ", System.StringComparison.Ordinal) && !line.StartsWith("| threat ", System.StringComparison.Ordinal) && !line.StartsWith("| ---", System.StringComparison.Ordinal))
        .Select(line => line.Trim('|', ' ').Split(" | "))];

    [Fact]
    public void Each_threat_is_met_in_files_that_are_there_and_shown_by_tests_that_are_there()
    {
        var tests = typeof(SecurityPageTests).Assembly.GetTypes().SelectMany(type => type.GetMethods())
            .Where(method => method.GetCustomAttributes().Any(attribute => attribute is FactAttribute))
            .Select(method => $"{method.DeclaringType!.Name}.{method.Name}").ToHashSet();

        Threats.Should().HaveCountGreaterThan(35);
        foreach (var threat in Threats)
        {
            threat.Should().HaveCount(4, threat[0]);
            Quoted().Matches(threat[2]).Select(file => file.Groups[1].Value).Should().NotBeEmpty(threat[0]).And.OnlyContain(file => File.Exists(Repository.File(file)), threat[0]);
            Quoted().Matches(threat[3]).Select(test => test.Groups[1].Value).Should().NotBeEmpty(threat[0]).And.OnlyContain(test => tests.Contains(test), threat[0]);
        }
    }

    [Fact]
    public void Each_threat_of_RFC_6819_and_RFC_9700_is_met_or_said_to_be_of_no_concern()
    {
        // Section 4 of each; of those about flows that there are not, the flow.
        string[] threats =
        [
            .. Sections("4.1", 5), .. Sections("4.2", 4), .. Sections("4.3", 5), .. Sections("4.4", 4), .. Sections("4.5", 4), .. Sections("4.6", 7),
        ];
        string[] attacks = [.. Sections("4", 17)];

        threats.Except(Named("6819")).Should().BeEmpty();
        attacks.Except(Named("9700")).Should().BeEmpty();
        Named("6819").Except(threats).Should().BeEmpty("there are no others");

        static IEnumerable<string> Sections(string chapter, int count) => Enumerable.Range(1, count).Select(section => $"{chapter}.{section}");
    }

    // "6819 §4.6.6, §4.6.7, 9700 §4.2": a section is of the document that was named last.
    private static HashSet<string> Named(string document)
    {
        var (named, current) = (new HashSet<string>(), "");
        foreach (Match word in Reference().Matches(s_page))
        {
            if (word.Groups["document"].Success)
            {
                current = word.Groups["document"].Value;
            }
            else if (current == document)
            {
                named.Add(word.Groups["section"].Value);
            }
        }

        return named;
    }

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Quoted();

    [GeneratedRegex(@"\b(?<document>6819|9700)\b|§(?<section>[0-9]+(\.[0-9]+)+)")]
    private static partial Regex Reference();
}
