using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using FluentAssertions;
using TokenService.Administration;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>The pages for platforms that this machine does not have: each configuration to paste is taken, alone or beside what it goes with.</summary>
public sealed partial class WorkloadPagesTests
{
    [Theory]
    [InlineData("kubernetes.md", 3, 1)]
    [InlineData("github-actions.md", 2, 2)]
    [InlineData("spiffe.md", 2, 1)]
    [InlineData("bind-tokens-with-dpop.md", 0, 1)]
    [InlineData("certificates.md", 0, 1)]
    public void Every_configuration_of_the_page_is_taken(string page, int issuers, int clients)
    {
        var (takenIssuers, takenClients) = (0, 0);
        var entries = JsonBlocks().Matches(File.ReadAllText(Repository.File("docs", page))).Select(match => JsonNode.Parse(match.Groups[1].Value)!.AsObject()).ToList();
        foreach (var entry in entries.Where(entry => entry.ContainsKey("name") || entry.ContainsKey("client_id") || entry.ContainsKey("clients")))
        {
            // A client alone goes with the first issuer of the page; an issuer is enough for itself.
            var file = entry.ContainsKey("clients") ? entry.DeepClone()
                : entry.ContainsKey("name") ? new JsonObject { ["issuers"] = new JsonArray(entry.DeepClone()) }
                : new JsonObject { ["issuers"] = new JsonArray(entries.First(other => other.ContainsKey("name")).DeepClone()), ["clients"] = new JsonArray(entry.DeepClone()) };
            file["resources"] = JsonNode.Parse("""[ { "resource": "https://catalog.example.com", "scopes": [ { "name": "catalog.read" } ] } ]""");
            var text = file.ToJsonString().Replace("sha256:\\u2026", "sha256:" + new string('A', 43), System.StringComparison.Ordinal);

            var taken = DeclarativeFile.Parse(Encoding.UTF8.GetBytes(text), page, development: false);

            takenIssuers += entry.ContainsKey("client_id") ? 0 : taken.Issuers.Length;
            takenClients += taken.Clients.Length;
        }

        (takenIssuers, takenClients).Should().Be((issuers, clients));
    }

    [GeneratedRegex("```json\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex JsonBlocks();
}
