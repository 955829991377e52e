using System;
using System.Globalization;
using System.Linq;
using System.Text.Json.Nodes;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Endpoints;

/// <summary>Clients that prove themselves with an assertion (RFC 7523), and get a token.</summary>
public sealed class ClientAssertionTests(ClientAssertionTests.Fixture fixture) : IClassFixture<ClientAssertionTests.Fixture>
{
    private readonly RunningService _service = fixture.Service;

    [Theory]
    [InlineData("RS256", "1")]
    [InlineData("RS384", "1")]
    [InlineData("RS512", "1")]
    [InlineData("PS256", "1")]
    [InlineData("PS384", "1")]
    [InlineData("PS512", "1")]
    [InlineData("ES256", "2")]
    [InlineData("ES384", "3")]
    [InlineData("ES512", "4")]
    public async Task A_client_proves_itself_with_its_private_key_by_each_algorithm(string algorithm, string kid)
    {
        var key = kid switch { "1" => Rsa, "2" => P256, "3" => P384, _ => P521 };

        var answer = await _service.Send(Draft().WithHeader("kid", kid).SignedBy(key, algorithm));

        answer.Status.Should().Be(200, answer.Body);
        var token = new JsonWebToken(answer.AccessToken);
        (token.Subject, token.GetClaim("client_id").Value, token.Audiences.Single()).Should().Be((KeyJob, KeyJob, Sample.CatalogUri));
    }

    [Theory]
    [InlineData("HS256")]
    [InlineData("HS384")]
    [InlineData("HS512")]
    public async Task A_client_proves_itself_with_an_HMAC_under_its_secret(string algorithm)
        => Accepted(await _service.Send(Draft(MacJob).SignedWith(MacSecret, algorithm)));

    [Fact]
    public async Task Without_kid_each_key_of_the_client_is_tried()
    {
        Accepted(await _service.Send(Draft().WithoutHeader("kid").SignedBy(Rsa)));
        Accepted(await _service.Send(Draft().WithoutHeader("kid").SignedBy(P521, "ES512")));
    }

    [Fact]
    public async Task A_key_that_is_registered_without_kid_goes_with_any()
        => Accepted(await _service.Send(Draft(PsJob).WithHeader("kid", "whatever").SignedBy(Rsa, "PS256")));

    [Theory]
    [InlineData("JWT")]
    [InlineData("jwt")]
    [InlineData("client-authentication+jwt")]
    [InlineData("Client-Authentication+JWT")]
    public async Task The_typ_may_be_one_of_two_in_any_case(string type)
        => Accepted(await _service.Send(Draft().WithHeader("typ", type).SignedBy(Rsa)));

    [Fact]
    public async Task The_issuer_may_stand_alone_in_an_array()
        => Accepted(await _service.Send(Draft().With("aud", new JsonArray(Issuer)).SignedBy(Rsa)));

    [Fact]
    public async Task The_client_id_may_stand_beside_the_assertion()
        => Accepted(await _service.Send(Draft().SignedBy(Rsa), $"&client_id={KeyJob}"));

    [Fact]
    public async Task Claims_and_headers_that_nobody_here_knows_are_passed_over()
    {
        var draft = Draft().WithHeader("x-other", new JsonObject { ["a"] = 1 }).With("other", new JsonArray(1, "two", null)).With("nbf", Now.ToUnixTimeSeconds());

        Accepted(await _service.Send(draft.Without("iat").SignedBy(Rsa)));
    }

    [Fact]
    public async Task Keys_in_the_header_are_not_looked_at()
    {
        var stranger = ClientKeyPair.OfRsa();
        var draft = Draft().WithHeader("jwk", stranger.Jwk()).WithHeader("jku", "http://127.0.0.1:1/").WithHeader("x5u", "http://127.0.0.1:1/").WithHeader("x5c", new JsonArray("MAA="));

        Accepted(await _service.Send(draft.SignedBy(Rsa)));
    }

    [Theory]
    [InlineData("jti", 256)]
    [InlineData("jti", 1)]
    public async Task A_jti_may_have_1_to_256_characters(string claim, int length)
        => Accepted(await _service.Send(Draft().With(claim, new string((char)('a' + (length % 26)), length)).SignedBy(Rsa)));

    // The clock of the service stands at 1800000000 exactly; skew is 30 seconds both ways, to the millisecond.
    [Theory]
    [InlineData("exp", "1799999970", false)]
    [InlineData("exp", "1799999969.999", false)]
    [InlineData("exp", "1799999970.001", true)]
    [InlineData("exp", "1800000000", true)]
    [InlineData("exp", "1800000060.5", true)]
    [InlineData("exp", "1.80000006e9", true)]
    [InlineData("exp", "1800000600", true)]
    [InlineData("exp", "1800000630", true)]
    [InlineData("exp", "1800000630.001", false)]
    [InlineData("iat", "1800000030", true)]
    [InlineData("iat", "1800000030.001", false)]
    [InlineData("iat", "1799913600", true)]
    [InlineData("iat", "1799913599.999", false)]
    [InlineData("nbf", "1800000030", true)]
    [InlineData("nbf", "1800000030.001", false)]
    [InlineData("nbf", "1", true)]
    public async Task Times_count_to_the_millisecond(string claim, string value, bool accepted)
    {
        var draft = Draft().With(claim, JsonNode.Parse(value));
        // The number as it is written here, not as a library would write it.
        draft.Claims.ToJsonString().Should().Contain($"\"{claim}\":{value}");

        (await _service.Send(draft.SignedBy(Rsa))).Status.Should().Be(accepted ? 200 : 401);
    }

    [Fact]
    public async Task A_jti_counts_for_each_client_by_itself()
    {
        var first = Draft();
        Accepted(await _service.Send(first.SignedBy(Rsa)));
        Accepted(await _service.Send(Draft(OtherJob).With("jti", first.TokenId).SignedBy(Rsa)));
    }

    [Fact]
    public async Task With_the_setting_the_token_endpoint_may_be_the_audience_too()
    {
        await using var service = await Start(settings: "--TokenService:AssertionAudience=IssuerOrTokenEndpoint");
        const string endpoint = Issuer + "/oauth2/token";

        foreach (var audience in (JsonNode[])[Issuer, endpoint, new JsonArray(endpoint), new JsonArray(Issuer, endpoint)])
        {
            Accepted(await service.Send(Draft().With("aud", audience).SignedBy(Rsa)));
        }

        foreach (var audience in (JsonNode[])[endpoint + "/", new JsonArray(endpoint, "https://other.example.com"), new JsonArray(Issuer, Issuer), new JsonArray()])
        {
            var refused = await service.Send(Draft().With("aud", audience).SignedBy(Rsa));
            refused.Status.Should().Be(401);
            refused.Json.GetProperty("error_description").GetString().Should()
                .Contain($"aud must be the issuer, {Issuer}, or the token endpoint, {endpoint}, and nothing beside them");
        }
    }

    [Fact]
    public async Task An_issuer_with_a_path_is_the_audience_with_its_path()
    {
        await using var service = await Start(settings: "--TokenService:Issuer=https://auth.example.com/tenant");

        (await service.Token(AssertionDraft.Form(Draft(audience: Issuer + "/tenant").SignedBy(Rsa)), path: "/tenant/oauth2/token")).Status.Should().Be(200);
        (await service.Token(AssertionDraft.Form(Draft(audience: Issuer).SignedBy(Rsa)), path: "/tenant/oauth2/token")).Status.Should().Be(401);
    }

    [Fact]
    public async Task Each_of_several_secrets_signs_until_it_expires()
    {
        const string second = "second-secret-0123456789abcdef0123456789";
        await using var service = await Start(file: Resources($$"""
            { "client_id": "two", "token_endpoint_auth_method": "client_secret_jwt", "client_secret": ["{{MacSecret}}", "{{second}}"], "scope": "catalog.read" },
            { "client_id": "old", "token_endpoint_auth_method": "client_secret_jwt", "client_secret": "{{MacSecret}}", "scope": "catalog.read",
              "client_secret_expires_at": {{Now.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture)}} },
            { "client_id": "young", "token_endpoint_auth_method": "client_secret_jwt", "client_secret": "{{MacSecret}}", "scope": "catalog.read",
              "client_secret_expires_at": {{(Now.ToUnixTimeSeconds() + 1).ToString(CultureInfo.InvariantCulture)}} }
            """));

        Accepted(await service.Send(Draft("two").SignedWith(MacSecret)));
        Accepted(await service.Send(Draft("two").SignedWith(second)));
        Accepted(await service.Send(Draft("young").SignedWith(MacSecret)));
        (await service.Send(Draft("old").SignedWith(MacSecret))).Error.Should().Be("invalid_client");
    }

    [Fact]
    public async Task The_grant_and_its_scopes_are_decided_as_for_any_client()
    {
        (await _service.Send(Draft().SignedBy(Rsa), "&scope=orders.read")).Error.Should().Be("invalid_scope");
        (await _service.Send(Draft().SignedBy(Rsa), "&resource=urn:other")).Error.Should().Be("invalid_target");
        var other = AssertionDraft.Form(Draft().SignedBy(Rsa)).Replace("client_credentials", "password", StringComparison.Ordinal);
        (await _service.Token(other)).Error.Should().Be("unsupported_grant_type");
    }

    private static void Accepted(Answer answer) => answer.Status.Should().Be(200, answer.Body);

    public sealed class Fixture : IAsyncLifetime
    {
        internal RunningService Service { get; private set; } = null!;

        public async Task InitializeAsync() => Service = await Start();

        public async Task DisposeAsync() => await Service.DisposeAsync();
    }
}
