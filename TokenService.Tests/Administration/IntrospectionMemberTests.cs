using System;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Administration;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Administration;

/// <summary>The member <c>introspection</c>, from the file to the listing.</summary>
public sealed class IntrospectionMemberTests
{
    [Theory]
    [InlineData("true", null)]
    [InlineData("false", null)]
    [InlineData("[]", null)]
    [InlineData("[\"urn:a\"]", null)]
    [InlineData("[\"urn:b\", \"urn:a\", \"urn:b\"]", null)]
    [InlineData("null", "clients[0].introspection must be true, false or an array of resources, and is null")]
    [InlineData("\"urn:a\"", "clients[0].introspection must be true, false or an array of resources, and is a string")]
    [InlineData("1", "clients[0].introspection must be true, false or an array of resources, and is a number")]
    [InlineData("{}", "clients[0].introspection must be true, false or an array of resources, and is an object")]
    [InlineData("[true]", "clients[0].introspection[0] must be a string, and is a boolean")]
    [InlineData("[\"urn:a\", \"urn:c\"]", "clients[0].introspection[1] names \"urn:c\", which is no resource. Nothing was applied.")]
    [InlineData("[\"*\"]", "clients[0].introspection[0] names \"*\", which is no resource. Nothing was applied.")]
    [InlineData("[\"\"]", "clients[0].introspection[0] names \"\", which is no resource. Nothing was applied.")]
    [InlineData("[\"s\"]", "clients[0].introspection[0] names \"s\", which is no resource. Nothing was applied.")]
    public void May_be_true_false_or_a_list_of_resources_that_exist(string value, string? fault)
    {
        var apply = () => ApplyPlan.Make(new Registry([], []), Parse(value), DateTimeOffset.UnixEpoch);

        if (fault is null)
        {
            apply.Should().NotThrow();
        }
        else
        {
            apply.Should().Throw<OperatorFaultException>().Which.Message.Should().Contain(fault);
        }
    }

    [Theory]
    [InlineData("true", "false", true)]
    [InlineData("true", "[\"urn:a\", \"urn:b\"]", true)]
    [InlineData("[\"urn:a\"]", "[\"urn:a\", \"urn:b\"]", true)]
    [InlineData("[\"urn:a\"]", "[]", true)]
    [InlineData("[\"urn:a\"]", "[\"urn:a\", \"urn:a\"]", false)]
    [InlineData("true", "true", false)]
    [InlineData("false", "[]", false)]
    public void A_change_of_it_is_a_change_of_the_client(string before, string after, bool changes)
    {
        using var folder = new TemporaryFolder();
        using var store = TokenService.Storage.Store.Open(Operations.SettingsTests.Read(folder.Path));
        ApplyFile.Once(Parse(before), store.Registry, DateTimeOffset.UnixEpoch);

        var plan = ApplyFile.Once(Parse(after), store.Registry, DateTimeOffset.UnixEpoch);

        plan.Changes.Should().HaveCount(changes ? 1 : 0);
        if (changes)
        {
            plan.Changes[0].Members.Should().Equal("introspection");
        }
    }

    [Theory]
    [InlineData("true", "true")]
    [InlineData("[\"urn:b\",\"urn:a\"]", "[\"urn:b\",\"urn:a\"]")]
    [InlineData("[]", null)]
    [InlineData("false", null)]
    public async Task Is_listed_as_it_was_written(string value, string? listed)
    {
        using var folder = new TemporaryFolder();
        var cli = new Cli(folder);
        (await cli.Run("apply", folder.Write("clients.json", File(value)))).ExitCode.Should().Be(0);

        using var clients = JsonDocument.Parse((await cli.Run("clients", "list", "--json")).Output);

        var found = clients.RootElement[0].TryGetProperty("introspection", out var introspection);
        found.Should().Be(listed is not null);
        if (found)
        {
            introspection.GetRawText().Should().Be(listed);
        }
    }

    private static DeclarativeFile Parse(string value)
        => DeclarativeFile.Parse(Encoding.UTF8.GetBytes(File(value)), "clients.json", development: false);

    private static string File(string value) => $$"""
        { "resources": [ { "resource": "urn:a", "scopes": [ { "name": "s" } ] }, { "resource": "urn:b", "scopes": [ { "name": "t" } ] } ],
          "clients": [ { "client_id": "c", "grant_types": [], "client_secret": "0123456789abcdef0123456789abcdef", "introspection": {{value}} } ] }
        """;
}
