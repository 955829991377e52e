using System;
using System.Linq;
using System.Text;
using FluentAssertions;
using TokenService.Administration;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Administration;

public sealed class ApplyPlanTests
{
    private const string OneClient = """
        { "resources": [ { "resource": "urn:a", "scopes": [ { "name": "s" }, { "name": "t" } ] } ],
          "clients": [ { "client_id": "c", "client_secret": "one", "scope": "s" } ] }
        """;

    private static readonly Registry s_empty = new([], []);

    [Fact]
    public void Adds_what_is_new_and_does_nothing_the_second_time()
    {
        var first = Plan(s_empty, OneClient);
        Say(first).Should().Equal("added resource urn:a ", "added client c ");

        var second = Plan(After(s_empty, first), OneClient);
        second.Changes.Should().BeEmpty();
        second.Write.IsEmpty.Should().BeTrue();
    }

    [Theory]
    [InlineData("\"one\"", "\"two\"", "changed client c client_secret")]
    [InlineData("\"one\"", "[\"one\", \"two\"]", "changed client c client_secret")]
    [InlineData("\"scope\": \"s\"", "\"scope\": \"t s\"", "changed client c scope")]
    [InlineData("\"client_id\": \"c\"", "\"client_id\": \"c\", \"client_name\": \"n\", \"access_token_lifetime\": 60", "changed client c client_name access_token_lifetime")]
    [InlineData("\"client_id\": \"c\"", "\"client_id\": \"c\", \"token_endpoint_auth_method\": \"client_secret_post\"", "changed client c token_endpoint_auth_method")]
    [InlineData("\"client_id\": \"c\"", "\"client_id\": \"c\", \"grant_types\": []", "changed client c grant_types")]
    [InlineData("{ \"name\": \"t\" }", "{ \"name\": \"t\", \"description\": \"d\" }", "changed resource urn:a scopes")]
    [InlineData("\"scopes\":", "\"name\": \"n\", \"scopes\":", "changed resource urn:a name")]
    public void Names_each_member_that_changes(string from, string to, string said)
    {
        var before = After(s_empty, Plan(s_empty, OneClient));

        Say(Plan(before, OneClient.Replace(from, to, StringComparison.Ordinal))).Should().Equal(said);
    }

    [Fact]
    public void Removes_what_the_file_no_longer_names()
    {
        var before = After(s_empty, Plan(s_empty, OneClient));

        var plan = Plan(before, "{}");

        Say(plan).Should().Equal("removed client c ", "removed resource urn:a ");
        After(before, plan).Clients.Should().BeEmpty();
    }

    [Fact]
    public void Leaves_alone_what_commands_made()
    {
        var before = new Registry([Command("other", "x")], [CommandResource("urn:x", "x")]);

        var plan = Plan(before, OneClient);

        After(before, plan).Clients.Select(client => client.ClientId).Should().BeEquivalentTo("other", "c");
        Say(Plan(before, "{}")).Should().BeEmpty();
    }

    [Fact]
    public void A_client_of_the_file_may_have_scopes_of_a_resource_that_a_command_made()
        => Say(Plan(new Registry([], [CommandResource("urn:x", "x")]), """{ "clients": [ { "client_id": "c", "client_secret": "one", "scope": "x" } ] }"""))
            .Should().Equal("added client c ");

    [Fact]
    public void Neither_undoes_disable_nor_takes_away_a_secret_that_a_command_made()
    {
        var registry = After(s_empty, Plan(s_empty, OneClient));
        var client = registry.FindClient("c")!;
        var rotated = new ClientSecret(ClientSecret.Digest(new Secret("rotated")), null, Origin.Command);
        registry = new Registry([client with { Disabled = true, Secrets = [.. client.Secrets, rotated] }], registry.Resources);

        Plan(registry, OneClient).Write.IsEmpty.Should().BeTrue();
        var changed = Plan(registry, OneClient.Replace("\"one\"", "\"two\"", StringComparison.Ordinal)).Write.Clients.Single();
        changed.Disabled.Should().BeTrue();
        changed.Secrets.Select(secret => secret.Origin).Should().BeEquivalentTo([Origin.File, Origin.Command]);
        changed.Secrets.Should().Contain(secret => secret.Hash.SequenceEqual(rotated.Hash));
    }

    [Fact]
    public void A_scope_may_move_from_a_resource_to_another()
    {
        const string two = """{ "resources": [ { "resource": "urn:a", "scopes": [ SA ] }, { "resource": "urn:b", "scopes": [ SB ] } ] }""";
        const string s = "{ \"name\": \"s\" }", t = "{ \"name\": \"t\" }", u = "{ \"name\": \"u\" }";
        var before = After(s_empty, Plan(s_empty, two.Replace("SA", $"{s}, {t}", StringComparison.Ordinal).Replace("SB", u, StringComparison.Ordinal)));

        var plan = Plan(before, two.Replace("SA", t, StringComparison.Ordinal).Replace("SB", $"{s}, {u}", StringComparison.Ordinal));

        After(before, plan).ResourceOf("s").Should().Be("urn:b");
    }

    [Theory]
    [InlineData("""{ "clients": [ { "client_id": "other", "client_secret": "one", "scope": "x" } ] }""", "clients[0].client_id \"other\" was registered by a command")]
    [InlineData("""{ "resources": [ { "resource": "urn:x", "scopes": [ { "name": "y" } ] } ] }""", "resources[0].resource \"urn:x\" was registered by a command")]
    [InlineData("""{ "resources": [ { "resource": "urn:y", "scopes": [ { "name": "x" } ] } ] }""", "resources[0].scopes[0].name \"x\" belongs to resource \"urn:x\"")]
    [InlineData("""{ "clients": [ { "client_id": "c", "client_secret": "one", "scope": "x nothing" } ] }""", "clients[0].scope names \"nothing\"")]
    public void A_contradiction_between_file_and_store_is_refused_with_the_place(string file, string message)
    {
        var registry = new Registry([Command("other", "x")], [CommandResource("urn:x", "x")]);

        Refused(registry, file).Should().Contain(message).And.EndWith("Nothing was applied.");
    }

    [Fact]
    public void A_scope_that_a_client_of_a_command_has_cannot_go()
    {
        var registry = After(s_empty, Plan(s_empty, OneClient));
        registry = new Registry([.. registry.Clients, Command("other", "t")], registry.Resources);

        Refused(registry, "{}").Should().Contain("\"t\"").And.Contain("\"other\"");
    }

    private static string Refused(Registry registry, string json)
        => new Func<ApplyPlan>(() => Plan(registry, json)).Should().Throw<OperatorFaultException>().Which.Message;

    private static string[] Say(ApplyPlan plan)
        => [.. plan.Changes.Select(change => $"{change.Kind} {change.Entry} {change.Id} {string.Join(' ', change.Members)}")];

    private static ApplyPlan Plan(Registry registry, string json)
        => ApplyPlan.Make(registry, DeclarativeFile.Parse(Encoding.UTF8.GetBytes(json), "clients.json", development: true), DateTimeOffset.UnixEpoch);

    // Through a real store, so that what the plan writes is what comes back.
    private static Registry After(Registry before, ApplyPlan plan)
    {
        using var folder = new TemporaryFolder();
        using var store = TokenService.Storage.Store.Open(Operations.SettingsTests.Read(folder.Path));
        store.Registry.Change(_ => new() { Clients = [.. before.Clients], Resources = [.. before.Resources] });
        store.Registry.Change(_ => plan.Write);
        return store.Registry.Read();
    }

    private static Client Command(string id, string scope) => new()
    {
        ClientId = id,
        AuthenticationMethod = "client_secret_basic",
        GrantTypes = ["client_credentials"],
        Scopes = [scope],
        Secrets = [new ClientSecret(ClientSecret.Digest(new Secret(id)), null, Origin.Command)],
        Origin = Origin.Command,
    };

    private static Resource CommandResource(string uri, string scope)
        => new() { Uri = uri, Scopes = [new Scope(scope, null)], Origin = Origin.Command };
}
