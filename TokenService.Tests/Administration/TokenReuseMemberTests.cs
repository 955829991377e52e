using System;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Administration;
using TokenService.Protocol;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Administration;

/// <summary>The member <c>token_reuse</c>, from the file to the listing.</summary>
public sealed class TokenReuseMemberTests
{
    private const string Secret = "0123456789abcdef0123456789abcdef";

    [Theory]
    [InlineData("1")]
    [InlineData("360")]
    [InlineData("1, \"access_token_lifetime\": 60")]
    [InlineData("6, \"access_token_lifetime\": 60")]
    [InlineData("8640, \"access_token_lifetime\": 86400")]
    public void May_be_up_to_a_tenth_of_the_lifetime(string value)
        => Parse(value).Clients[0].TokenReuse.Should().Be(long.Parse(value.Split(',')[0], System.Globalization.CultureInfo.InvariantCulture));

    [Theory]
    [InlineData("0", "must be from 1 to 360 seconds, a tenth of how long its tokens live (left out: each request gets a token of its own)")]
    [InlineData("-1", "must be from 1 to 360 seconds")]
    [InlineData("361", "must be from 1 to 360 seconds")]
    [InlineData("7, \"access_token_lifetime\": 60", "must be from 1 to 6 seconds")]
    [InlineData("7, \"access_token_lifetime\": 69", "must be from 1 to 6 seconds")]
    [InlineData("8641, \"access_token_lifetime\": 86400", "must be from 1 to 8640 seconds")]
    [InlineData("9223372036854775807", "must be from 1 to 360 seconds")]
    [InlineData("-9223372036854775808", "must be from 1 to 360 seconds")]
    [InlineData("9223372036854775808", "must be a whole number")]
    [InlineData("1.5", "must be a whole number")]
    [InlineData("1e99", "must be a whole number")]
    [InlineData("\"60\"", "must be a whole number, and is a string")]
    [InlineData("true", "must be a whole number, and is a boolean")]
    [InlineData("null", "must be a whole number, and is null")]
    [InlineData("[60]", "must be a whole number, and is an array")]
    [InlineData("60, \"grant_types\": []", "does not go with a client that is not registered for client_credentials: no other grant gives a token again")]
    [InlineData("60, \"grant_types\": [\"urn:ietf:params:oauth:grant-type:token-exchange\"]", "does not go with a client that is not registered for client_credentials")]
    public void Anything_else_is_refused_with_the_place(string value, string fault)
    {
        var parse = () => Parse(value);

        var message = parse.Should().Throw<OperatorFaultException>().Which.Message;
        message.Should().StartWith($"clients.json: clients[0].token_reuse {fault}").And.EndWith("Nothing was applied.").And.NotContain(";");
    }

    [Fact]
    public void A_lifetime_that_is_wrong_itself_is_the_only_fault()
    {
        var parse = () => Parse("7, \"access_token_lifetime\": 5");

        parse.Should().Throw<OperatorFaultException>().Which.Message.Should()
            .Be("clients.json: clients[0].access_token_lifetime must be from 60 to 86400 seconds. Nothing was applied.");
    }

    [Theory]
    [InlineData("5", "6", true)]
    [InlineData("5", null, true)]
    [InlineData(null, "5", true)]
    [InlineData("5", "5", false)]
    public void A_change_of_it_is_a_change_of_the_client(string? before, string? after, bool changes)
    {
        using var folder = new TemporaryFolder();
        using var store = TokenService.Storage.Store.Open(Operations.SettingsTests.Read(folder.Path));
        ApplyFile.Once(Parse(before), store.Registry, DateTimeOffset.UnixEpoch);

        var plan = ApplyFile.Once(Parse(after), store.Registry, DateTimeOffset.UnixEpoch);

        plan.Changes.Should().HaveCount(changes ? 1 : 0);
        if (changes)
        {
            plan.Changes[0].Members.Should().Equal("token_reuse");
        }

        store.Registry.Read().FindClient("c")!.TokenReuse.Should().Be(after is null ? null : TimeSpan.FromSeconds(int.Parse(after, System.Globalization.CultureInfo.InvariantCulture)));
    }

    [Fact]
    public async Task Is_judged_by_the_default_lifetime_and_shown_as_it_was_written()
    {
        using var folder = new TemporaryFolder();
        var cli = new Cli(folder);
        var file = folder.Write("clients.json", File("360"));

        var refused = await cli.Run("apply", file, "--TokenService:AccessTokenLifetime=00:30:00");
        (refused.ExitCode, refused.Error).Should().Be((1,
            "clients.json: clients[0].token_reuse must be from 1 to 180 seconds, a tenth of how long its tokens live (left out: each request gets a token of its own). Nothing was applied.\n"));
        (await cli.Run("apply", file)).ExitCode.Should().Be(0);

        using var shown = JsonDocument.Parse((await cli.Run("clients", "show", "c", "--json")).Output);
        shown.RootElement.GetProperty("token_reuse").GetInt64().Should().Be(360);
        (await cli.Run("clients", "show", "c")).Output.Should().Contain("\ntoken_reuse                     360\n");
        (await cli.Run("apply", folder.Write("clients.json", File(null)))).Output.Should().Be("changed client c (token_reuse)\nDone.\n");
        (await cli.Run("clients", "list", "--json")).Output.Should().NotContain("token_reuse");
    }

    private static DeclarativeFile Parse(string? value)
        => DeclarativeFile.Parse(Encoding.UTF8.GetBytes(File(value)), "clients.json", development: false, TimeSpan.FromHours(1));

    private static string File(string? value) => $$"""
        { "resources": [ { "resource": "urn:a", "scopes": [ { "name": "s" } ] } ],
          "clients": [ { "client_id": "c", "scope": "s", "client_secret": "{{Secret}}"{{(value is null ? "" : $", \"token_reuse\": {value}")}} } ] }
        """;
}
