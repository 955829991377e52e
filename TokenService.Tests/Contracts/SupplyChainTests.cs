using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>What the program is made of, and what is known of that.</summary>
[Trait("Storage", "Sqlite")]
public sealed class SupplyChainTests
{
    [PublishedFact]
    public async Task The_list_of_what_the_program_is_made_of_has_all_that_the_lock_file_has_and_the_runtime()
    {
        using var list = JsonDocument.Parse(await File.ReadAllTextAsync(Path.Combine(Path.GetDirectoryName(Repository.Program)!, "TokenService.cdx.json")));
        using var locked = JsonDocument.Parse(await File.ReadAllTextAsync(Repository.File("TokenService", "packages.lock.json")));
        var (root, program) = (list.RootElement, list.RootElement.GetProperty("metadata").GetProperty("component"));

        (root.Text("bomFormat"), program.Text("name")).Should().Be(("CycloneDX", "TokenService"));
        root.GetProperty("components").EnumerateArray().Select(package => $"{package.Text("name")} {package.Text("version")}").Should().BeEquivalentTo(
            locked.RootElement.GetProperty("dependencies").EnumerateObject().SelectMany(framework => framework.Value.EnumerateObject())
                .Select(package => $"{package.Name} {package.Value.Text("resolved")}").Distinct());
        foreach (var package in root.GetProperty("components").EnumerateArray())
        {
            package.GetProperty("hashes").GetArrayLength().Should().BePositive(package.Text("name"));
            package.GetProperty("licenses").GetArrayLength().Should().BePositive(package.Text("name"));
        }

        // The web server and the runtime are inside of the native program.
        var version = (await RunningProgram.Run(Repository.Program, ["--version"])).Output;
        var parts = program.GetProperty("components").EnumerateArray().ToDictionary(part => part.Text("name")!, part => part.Text("version"));
        parts.Keys.Should().Contain(name => name.StartsWith("Microsoft.AspNetCore.App.Runtime.", StringComparison.Ordinal))
            .And.Contain(name => name.StartsWith("Microsoft.NETCore.App.Runtime.", StringComparison.Ordinal));
        parts.Values.Should().OnlyContain(part => version.Contains($".NET {part}", StringComparison.Ordinal), version);
        version.Should().Contain($"TokenService {program.Text("version")},");
    }

    [Theory]
    [InlineData(0, "The given project `TokenService` has no vulnerable packages given the current sources.")]
    [InlineData(1, "Project `TokenService` has the following vulnerable packages\n   [net10.0]: \n   Transitive Package   Resolved   Severity   Advisory URL\n   > Npgsql   10.0.3   High   https://example.com")]
    [InlineData(1, "The given project `A` has no vulnerable packages given the current sources.\nProject `B` has the following vulnerable packages\n   > Npgsql   10.0.3   High")]
    [InlineData(0, "error NU1301: Unable to load the service index for source.")]
    [InlineData(0, "")]
    public async Task A_known_weakness_stops_CI_and_a_source_that_does_not_answer_is_said_and_does_not(int exitCode, string said)
    {
        using var folder = new TemporaryFolder();

        var checkedNow = await RunningProgram.Run(Repository.File(".ci", "vulnerable"), [folder.Write("said", said)]);

        checkedNow.ExitCode.Should().Be(exitCode, checkedNow.Output + checkedNow.Error);
        checkedNow.Output.Contains("No source of packages has answered", StringComparison.Ordinal).Should().Be(!said.Contains("vulnerable", StringComparison.Ordinal));
        checkedNow.Output.Contains("> Npgsql", StringComparison.Ordinal).Should().Be(exitCode == 1);
    }
}
