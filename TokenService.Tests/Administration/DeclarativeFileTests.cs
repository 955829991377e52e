using System;
using System.Text;
using FluentAssertions;
using TokenService.Administration;
using TokenService.Protocol;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Administration;

public sealed class DeclarativeFileTests
{
    private const string Long = "0123456789abcdef0123456789abcdef";

    [Fact]
    public void Reads_the_sample()
    {
        var file = Parse(Sample.File);

        file.Resources.Should().HaveCount(2);
        file.Clients.Should().HaveCount(4);
    }

    [Fact]
    public void An_empty_file_is_right_and_so_is_one_with_a_byte_order_mark()
    {
        Parse("{}").Clients.Should().BeEmpty();
        Parse("\uFEFF{}").Clients.Should().BeEmpty();
    }

    [Theory]
    [InlineData("", "clients.json is not well-formed JSON")]
    [InlineData("{", "clients.json is not well-formed JSON at line 1, column 2")]
    [InlineData("{\n  \"clients\": [,]}", "clients.json is not well-formed JSON at line 2, column 15")]
    [InlineData("{} {}", "clients.json is not well-formed JSON at line 1, column 4")]
    [InlineData("{ \"clients\": [], \"clients\": [] }", "clients.json is not well-formed JSON")]
    [InlineData("// no comments\n{}", "clients.json is not well-formed JSON at line 1, column 1")]
    [InlineData("{ \"clients\": [], \"\\ud800\": 1 }", "clients.json is not well-formed JSON")]
    [InlineData("[]", "the file must be an object, and is an array")]
    [InlineData("""{ "client": [] }""", "client is not a member")]
    [InlineData("""{ "clients": {} }""", "clients must be an array, and is an object")]
    [InlineData("""{ "clients": null }""", "clients must be an array, and is null")]
    [InlineData("""{ "clients": [ 5 ] }""", "clients[0] must be an object, and is a number")]
    [InlineData("""{ "clients": [ { "client_id": 5 } ] }""", "clients[0].client_id must be a string, and is a number")]
    [InlineData("""{ "clients": [ { "client_id": "\ud800" } ] }""", "clients[0].client_id is not Unicode text")]
    [InlineData("""{ "resources": [ { "resource": "urn:a", "scopes": [ { "nam": "s" } ] } ] }""", "resources[0].scopes[0].nam is not a member")]
    [InlineData("""{ "resources": [ { "resource": "urn:a", "scopes": [ { "name": "s t" } ] } ] }""", "resources[0].scopes[0].name may have printable ASCII only")]
    [InlineData("""{ "resources": [ { "resource": "urn:a", "scopes": [ { "description": "d" } ] } ] }""", "resources[0].scopes[0].name is missing")]
    [InlineData("""{ "resources": [ { "resource": "urn:a", "scopes": [] } ] }""", "resources[0].scopes is missing")]
    [InlineData("""{ "resources": [ { "resource": "catalog", "scopes": [ { "name": "s" } ] } ] }""", "resources[0].resource must be an absolute URI")]
    [InlineData("""{ "resources": [ { "resource": "/catalog", "scopes": [ { "name": "s" } ] } ] }""", "resources[0].resource must be an absolute URI")]
    [InlineData("""{ "resources": [ { "resource": "https://a#b", "scopes": [ { "name": "s" } ] } ] }""", "resources[0].resource may not have a fragment")]
    [InlineData(
        """{ "resources": [ { "resource": "urn:a", "scopes": [ { "name": "s" } ] }, { "resource": "urn:a", "scopes": [ { "name": "t" } ] } ] }""",
        "resources[1].resource \"urn:a\" stands already at resources[0].resource")]
    [InlineData(
        """{ "resources": [ { "resource": "urn:a", "scopes": [ { "name": "s" } ] }, { "resource": "urn:b", "scopes": [ { "name": "s" } ] } ] }""",
        "resources[1].scopes[0].name \"s\" stands already at resources[0].scopes[0].name")]
    public void A_wrong_file_is_refused_with_the_place(string json, string message)
        => Refused(json).Should().Contain(message).And.EndWith("Nothing was applied.").And.NotContain("\n");

    [Theory]
    [InlineData("", "client_id is missing")]
    [InlineData("\"client_id\": \"\"", "client_id is missing")]
    [InlineData("\"client_id\": \"ö\"", "client_id may have printable ASCII characters only")]
    [InlineData("\"client_id\": \" a\"", "client_id may not begin or end with a space")]
    [InlineData("\"client_id\": \"a\", \"scope\": null", "scope must be a string, and is null")]
    [InlineData("\"client_id\": \"a\", \"client_name\": \"\\u001b[31m\"", "client_name has a control character")]
    [InlineData("\"client_id\": \"a\"", "scope is missing")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"a  b\"", "scope must be at most 256 scope names")]
    [InlineData("\"client_id\": \"a\", \"redirect_uris\": []", "redirect_uris is not a member")]
    [InlineData("\"client_id\": \"a\", \"response_types\": []", "response_types is not a member")]
    [InlineData("\"client_id\": \"a\", \"client_Secret\": \"x\"", "client_Secret is not a member")]
    [InlineData("\"client_id\": \"a\", \"grant_types\": [\"password\"]", "grant_types[0] \"password\" is not offered")]
    [InlineData("\"client_id\": \"a\", \"grant_types\": \"client_credentials\"", "grant_types must be an array, and is a string")]
    [InlineData("\"client_id\": \"a\", \"token_endpoint_auth_method\": \"none\"", "token_endpoint_auth_method \"none\" is not accepted")]
    [InlineData("\"client_id\": \"a\", \"access_token_lifetime\": \"600\"", "access_token_lifetime must be a whole number, and is a string")]
    [InlineData("\"client_id\": \"a\", \"access_token_lifetime\": 600.5", "access_token_lifetime must be a whole number")]
    [InlineData("\"client_id\": \"a\", \"access_token_lifetime\": 59", "access_token_lifetime must be from 60 to 86400 seconds")]
    [InlineData("\"client_id\": \"a\", \"access_token_lifetime\": 86401", "access_token_lifetime must be from 60 to 86400 seconds")]
    [InlineData("\"client_id\": \"a\", \"access_token_lifetime\": 1e99", "access_token_lifetime must be a whole number")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\"", "client_secret is missing")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"client_secret\": []", "client_secret is missing")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"client_secret\": \"\"", "client_secret is empty")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"client_secret\": \"a\\n\"", "client_secret has a control character")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"client_secret\": [\"a\", \"\"]", "client_secret[1] is empty")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"client_secret\": [\"a\", 5]", "client_secret[1] must be a string")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"client_secret_hash\": \"abc\"", "client_secret_hash must be \"sha256:\"")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"client_secret_hash\": [ { \"hash\": \"x\", \"until\": 5 } ]", "client_secret_hash[0].until is not a member")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"client_secret\": \"x\", \"client_secret_expires_at\": -1", "client_secret_expires_at must be a time")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"client_secret\": [\"x\", \"y\"], \"client_secret_expires_at\": 5", "client_secret_expires_at belongs to a single")]
    public void A_wrong_client_is_refused_with_the_place(string members, string message)
        => Refused($$"""{ "clients": [ { {{members}} } ] }""").Should().Contain($"clients[0].{message}").And.EndWith("Nothing was applied.");

    [Fact]
    public void Bytes_that_are_not_UTF_8_are_refused_wherever_they_are()
    {
        foreach (var json in (string[])["{ \"\u00ff\": 1 }", "{ \"clients\": [ { \"client_id\": \"\u00ff\" } ] }", "\u00ff"])
        {
            var parse = () => DeclarativeFile.Parse(Encoding.Latin1.GetBytes(json), "clients.json", development: true);
            parse.Should().Throw<OperatorFaultException>();
        }
    }

    [Fact]
    public void Every_fault_is_named_not_only_the_first()
        => Refused("""{ "clients": [ { "client_id": 5 }, { "client_id": "a", "x": 1 }, { "client_id": "b", "scope": "s" } ] }""")
            .Should().Contain("clients[0].client_id").And.Contain("clients[1].x").And.Contain("clients[2].client_secret");

    [Fact]
    public void Outside_Development_a_short_secret_is_refused_and_never_repeated()
    {
        var json = $$"""{ "clients": [ { "client_id": "a", "scope": "s", "client_secret": "{{Long[..31]}}" } ] }""";

        Parse(json).Clients.Should().HaveCount(1);
        Refused(json, development: false).Should().Contain("clients[0].client_secret is too short").And.NotContain(Long[..31]);
        Parse(json.Replace(Long[..31], Long, StringComparison.Ordinal), development: false).Clients.Should().HaveCount(1);
    }

    [Fact]
    public void A_client_that_never_asks_for_tokens_needs_no_scope()
        => Parse("""{ "clients": [ { "client_id": "a", "grant_types": [], "client_secret": "x" } ] }""").Clients.Should().HaveCount(1);

    private static string Refused(string json, bool development = true)
        => new Func<DeclarativeFile>(() => Parse(json, development)).Should().Throw<OperatorFaultException>().Which.Message;

    private static DeclarativeFile Parse(string json, bool development = true)
        => DeclarativeFile.Parse(Encoding.UTF8.GetBytes(json), "clients.json", development);
}
