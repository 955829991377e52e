using System;
using System.Buffers.Text;
using System.Linq;
using System.Text;
using System.Text.Json;
using CsCheck;
using FluentAssertions;
using TokenService.Administration;
using TokenService.Clients;
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
    [InlineData("\"client_id\": \"a\", \"grant_types\": [\"password\"]", "grant_types[0] \"password\" is not offered by this service; accepted: client_credentials, urn:ietf:params:oauth:grant-type:token-exchange")]
    [InlineData("\"client_id\": \"a\", \"grant_types\": [\"client_credentials\", \"token-exchange\"]", "grant_types[1] \"token-exchange\" is not offered")]
    [InlineData("\"client_id\": \"a\", \"grant_types\": [\"urn:ietf:params:oauth:grant-type:token-exchange\"]", "scope is missing")]
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
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"token_endpoint_auth_method\": \"private_key_jwt\"", "jwks is missing: private_key_jwt needs jwks, or jwks_uri")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"token_endpoint_auth_method\": \"private_key_jwt\", \"jwks\": 5", "jwks must be a JWK Set")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"token_endpoint_auth_method\": \"private_key_jwt\", \"jwks\": { \"keys\": [ { \"kty\": \"oct\" } ] }", "jwks.keys[0].kty must be")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"token_endpoint_auth_method\": \"private_key_jwt\", \"jwks_uri\": 5", "jwks_uri must be a string")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"token_endpoint_auth_method\": \"private_key_jwt\", \"jwks_uri\": \"https://k.example.com\", \"client_secret\": \"x\"", "client_secret does not go with private_key_jwt")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"jwks_uri\": \"https://k.example.com\", \"client_secret\": \"x\"", "jwks_uri does not go with client_secret_basic")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"token_endpoint_auth_signing_alg\": \"RS256\", \"client_secret\": \"x\"", "token_endpoint_auth_signing_alg does not go with client_secret_basic")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"token_endpoint_auth_method\": \"client_secret_jwt\"", "client_secret is missing: client_secret_jwt needs client_secret")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"token_endpoint_auth_method\": \"client_secret_jwt\", \"client_secret_hash\": \"sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", "client_secret_hash does not go with client_secret_jwt")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"token_endpoint_auth_method\": \"client_secret_jwt\", \"client_secret\": \"x\", \"token_endpoint_auth_signing_alg\": \"RS256\"", "token_endpoint_auth_signing_alg \"RS256\" is not accepted; accepted: HS256, HS384, HS512")]
    [InlineData("\"client_id\": \"a\", \"scope\": \"s\", \"token_endpoint_auth_method\": \"private_key_jwt\", \"jwks_uri\": \"https://k.example.com\", \"token_endpoint_auth_signing_alg\": \"none\"", "token_endpoint_auth_signing_alg \"none\" is not accepted; accepted: RS256")]
    public void A_wrong_client_is_refused_with_the_place(string members, string message)
        => Refused($$"""{ "clients": [ { {{members}} } ] }""").Should().Contain($"clients[0].{message}").And.EndWith("Nothing was applied.");

    [Theory]
    [InlineData("https://keys.example.com/jwks", true)]
    [InlineData("https://keys.example.com:8443/jwks?x=1", true)]
    [InlineData("https://10.0.0.5/jwks", true)]
    [InlineData("http://localhost:5000/jwks", true)]
    [InlineData("http://127.0.0.1:5000/jwks", true)]
    [InlineData("http://[::1]:5000/jwks", true)]
    [InlineData("http://keys.example.com/jwks", false)]
    [InlineData("http://10.0.0.5/jwks", false)]
    [InlineData("https://169.254.169.254/latest", false)]
    [InlineData("https://[fe80::1]/jwks", false)]
    [InlineData("https://[::ffff:169.254.169.254]/jwks", false)]
    [InlineData("https://user:password@keys.example.com/jwks", false)]
    [InlineData("https://keys.example.com/jwks#part", false)]
    [InlineData("https://keys.exämple.com/jwks", false)]
    [InlineData("file:///etc/passwd", false)]
    [InlineData("/jwks", false)]
    [InlineData("jwks", false)]
    [InlineData("", false)]
    public void A_jwks_uri_is_https_or_http_on_loopback(string uri, bool accepted)
    {
        var json = $$"""{ "clients": [ { "client_id": "a", "scope": "s", "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "{{uri}}" } ] }""";
        if (accepted)
        {
            Parse(json).Clients.Single().JwksUri.Should().Be(uri);
        }
        else
        {
            Refused(json).Should().StartWith("clients.json: clients[0].jwks_uri must be an https URL");
        }
    }

    [Fact]
    public void Keys_are_given_in_one_way_only_and_fit_the_algorithm()
    {
        var jwks = ClientKeyPair.Set(ClientKeyPair.OfRsa().Jwk());
        const string start = "{ \"clients\": [ { \"client_id\": \"a\", \"scope\": \"s\", \"token_endpoint_auth_method\": ";

        Refused($"{start} \"private_key_jwt\", \"jwks\": {jwks}, \"jwks_uri\": \"https://k.example.com\" }} ] }}")
            .Should().Contain("clients[0].jwks does not go with jwks_uri: give one of the two");
        Refused($"{start} \"client_secret_basic\", \"jwks\": {jwks}, \"client_secret\": \"x\" }} ] }}")
            .Should().Contain("clients[0].jwks does not go with client_secret_basic");
        Refused($"{start} \"private_key_jwt\", \"jwks\": {jwks}, \"token_endpoint_auth_signing_alg\": \"ES256\" }} ] }}")
            .Should().Contain("clients[0].jwks has no key that goes with token_endpoint_auth_signing_alg");
        Refused($"{start} \"private_key_jwt\", \"jwks\": {ClientKeyPair.Set(ClientKeyPair.OfRsa(1024).Jwk())} }} ] }}")
            .Should().Contain("clients[0].jwks.keys[0].n must be an RSA modulus of 2048 to 4096 bits");
    }

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

    [Theory]
    [InlineData("client_secret")]
    [InlineData("client_secret_hash")]
    public void A_client_has_at_most_16_secrets(string member)
    {
        Parse(With(16)).Clients.Should().HaveCount(1);
        Refused(With(17)).Should().StartWith($"clients.json: clients[0].{member} has more than 16 secrets, and each request would be compared with all of them. Nothing was applied.");

        string With(int count)
        {
            var secrets = Enumerable.Range(0, count).Select(i => $"{Long}{i}").Select(secret => member == "client_secret" ? secret : $"sha256:{Base64Url.EncodeToString([.. ClientSecret.Digest(new Secret(secret))])}");
            return $$"""{ "resources": [ { "resource": "urn:a", "scopes": [ { "name": "s" } ] } ], "clients": [ { "client_id": "a", "scope": "s", "{{member}}": {{JsonSerializer.Serialize(secrets)}} } ] }""";
        }
    }

    [Fact]
    public void Outside_Development_a_short_secret_is_refused_and_never_repeated()
    {
        var json = $$"""{ "clients": [ { "client_id": "a", "scope": "s", "client_secret": "{{Long[..31]}}" } ] }""";

        Parse(json).Clients.Should().HaveCount(1);
        Refused(json, development: false).Should().Contain("clients[0].client_secret is too short").And.NotContain(Long[..31]);
        Parse(json.Replace(Long[..31], Long, StringComparison.Ordinal), development: false).Clients.Should().HaveCount(1);
    }

    [Fact]
    public void All_scopes_of_a_client_fit_into_a_token()
    {
        string Json(int length) => $$"""{ "clients": [ { "client_id": "a", "scope": "{{new string('s', length)}}", "client_secret": "x" } ] }""";

        Parse(Json(16 * 1024)).Clients.Should().HaveCount(1);
        Refused(Json((16 * 1024) + 1)).Should().Contain("clients[0].scope has more than 16384 characters");
    }

    [Fact]
    public void A_secret_is_as_long_as_the_hash_that_it_is_registered_for()
    {
        string Json(string algorithm, int length) => $$"""
            { "clients": [ { "client_id": "a", "scope": "s", "token_endpoint_auth_method": "client_secret_jwt",
              "token_endpoint_auth_signing_alg": "{{algorithm}}", "client_secret": "{{new string('s', length)}}" } ] }
            """;

        foreach (var (algorithm, length) in ((string, int)[])[("HS256", 32), ("HS384", 48), ("HS512", 64)])
        {
            Parse(Json(algorithm, length), development: false).Clients.Should().HaveCount(1);
            Refused(Json(algorithm, length - 1), development: false).Should().Contain("clients[0].client_secret is too short");
        }
    }

    [Fact]
    public void A_client_that_never_asks_for_tokens_needs_no_scope()
        => Parse("""{ "clients": [ { "client_id": "a", "grant_types": [], "client_secret": "x" } ] }""").Clients.Should().HaveCount(1);

    private static string Refused(string json, bool development = true)
        => new Func<DeclarativeFile>(() => Parse(json, development)).Should().Throw<OperatorFaultException>().Which.Message;

    private static DeclarativeFile Parse(string json, bool development = true)
        => DeclarativeFile.Parse(Encoding.UTF8.GetBytes(json), "clients.json", development);

    // The library repeats what it could not read.
    [Theory]
    [InlineData("{ \"clients\": [ { \"client_secret\": n0123456789abcdef } ] }")]
    [InlineData("{ \"clients\": [ { \"client_secret\": t0123456789abcdef } ] }")]
    [InlineData("{ \"clients\": [ { \"client_secret\": 00123456789abcdef } ] }")]
    [InlineData("{ \"clients\": [ { \"client_secret\": \"0123456789abcdef\u001b[31m\" } ] }")]
    public void A_secret_without_its_quotes_is_not_repeated(string json)
        => Refused(json).Should().StartWith("clients.json is not well-formed JSON at line 1, column ").And.NotContain("123456789").And.EndWith("Nothing was applied.");

    [Fact]
    public void A_message_is_printable_whatever_the_file_has_for_a_method()
        => Refused("""{ "clients": [ { "client_id": "a", "token_endpoint_auth_method": "x\u001b[31m\ny", "scope": "s", "jwks_uri": "https://a/b", "tls_client_auth_san_dns": "a" } ] }""")
            .Should().MatchRegex("^[ -~]*$").And.Contain("does not go with x\\u001B[31m\\u000Ay");

    [Fact]
    public void Whatever_the_file_it_is_read_or_refused_in_one_printable_line()
    {
        var values = Gen.OneOf(
            Gen.String.Select(text => JsonSerializer.Serialize(text)),
            Gen.OneOf("1", "1e400", "-1", "null", "true", "[]", "{}", "[\"a\"]", "[[]]", "\"a\"", "\"private_key_jwt\"", "\"\\ud800\"", "\"https://a/b\"", "{\"keys\":[]}", "nx", "[1", "}"));
        var names = Gen.OneOf(
            "client_id", "client_name", "grant_types", "token_endpoint_auth_method", "scope", "access_token_lifetime", "client_secret", "client_secret_hash", "jwks", "jwks_uri", "federation",
            "spiffe_id", "introspection", "token_reuse", "dpop_bound_access_tokens", "tls_client_auth_subject_dn", "redirect_uris", "\\u0061", "resource", "scopes", "name", "issuer", "claims");
        var objects = Gen.Select(names, values).Array[0, 6].Select(members => "{" + string.Join(',', members.Select(member => $"\"{member.Item1}\":{member.Item2}")) + "}");
        Gen.Select(Gen.OneOf("clients", "resources", "issuers", "x"), objects.Array[0, 3]).Sample(
            (list, entries) =>
            {
                try
                {
                    return Parse($"{{\"{list}\":[{string.Join(',', entries)}]}}") is not null;
                }
                catch (OperatorFaultException fault)
                {
                    return fault.Message.All(c => c is >= ' ' and <= '~' or '…') && fault.Message.EndsWith("Nothing was applied.", StringComparison.Ordinal);
                }
            },
            iter: 20_000);
    }

    [Fact]
    public void What_a_right_file_says_is_what_is_read() => Gen.Select(
        Gen.String[Gen.Char.AlphaNumeric, 1, 20].Array[1, 6], Gen.String[Gen.Char["ab.:/"], 1, 8].Array[1, 6]).Sample(
        (ids, scopes) =>
        {
            (ids, scopes) = ([.. ids.Distinct()], [.. scopes.Distinct()]);
            var file = Parse(JsonSerializer.Serialize(new
            {
                resources = new[] { new { resource = "urn:a", scopes = scopes.Select(scope => new { name = scope }) } },
                clients = ids.Select(id => new { client_id = id, client_secret = Long, scope = string.Join(' ', scopes) }),
            }));
            return file.Clients.Select(client => client.ClientId).SequenceEqual(ids) && file.Clients.All(client => client.Scope == string.Join(' ', scopes))
                && file.Resources.Single().Scopes.Select(scope => scope.Name).SequenceEqual(scopes);
        },
        iter: 300);
}
