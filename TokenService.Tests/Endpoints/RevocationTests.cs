using System;
using System.Linq;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Keys;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.TokenQueries;

namespace TokenService.Tests.Endpoints;

public sealed class RevocationTests
{
    [Fact]
    public async Task A_client_takes_back_its_own_token_and_none_of_its_others()
    {
        await using var service = await Start();
        var (token, other) = (await service.GetToken(), await service.GetToken());

        IsEmpty(await service.Revoke(token));

        IntrospectionTests.IsInactive(await service.Introspect(token));
        IntrospectionTests.IsInactive(await service.Introspect(token, Gateway));
        (await service.IsActive(other)).Should().BeTrue();
        IsEmpty(await service.Revoke(token));
        (await service.IsActive(await service.GetToken())).Should().BeTrue();
    }

    [Theory]
    [InlineData("access_token")]
    [InlineData("refresh_token")]
    [InlineData("something")]
    [InlineData("")]
    public async Task The_hint_changes_nothing(string hint)
    {
        await using var service = await Start();
        var token = await service.GetToken();

        IsEmpty(await service.Token($"token={token}&token_type_hint={hint}", Job, Revocation));

        IntrospectionTests.IsInactive(await service.Introspect(token));
    }

    [Fact]
    public async Task A_token_of_another_client_stays_alive_and_its_revocation_reads_the_same()
    {
        await using var service = await Start();
        var token = await service.GetToken();

        foreach (var stranger in (string[])[Wide, CatalogApi, Gateway])
        {
            IsEmpty(await service.Revoke(token, stranger));
        }

        (await service.IsActive(token)).Should().BeTrue();
        Kept(service).Should().Be(0);
    }

    [Fact]
    public async Task What_is_no_live_token_is_answered_alike_and_leaves_nothing_behind()
    {
        var clock = new FakeTimeProvider(DateTimeOffset.FromUnixTimeSeconds(1_800_000_000));
        await using var service = await Start(clock);
        await using var elsewhere = await Start(clock);
        var (token, expired, stranger) = (await service.GetToken(), await service.GetToken(), SigningKey.Generate("RS256"));
        clock.Advance(TimeSpan.FromSeconds(600));

        foreach (var dead in (string[])
        [
            "garbage", expired, await elsewhere.GetToken(), TokenDraft.Of(token).SignedBy(stranger),
            TokenDraft.Of(token).WithHeader("kid", stranger.Kid).SignedBy(stranger), TokenDraft.Of(token).WithHeader("alg", "none").Signed(_ => []),
        ])
        {
            IsEmpty(await service.Revoke(dead));
        }

        Kept(service).Should().Be(0);
    }

    [Fact]
    public async Task A_forged_token_with_the_jti_of_another_client_revokes_nothing()
    {
        await using var service = await Start();
        var token = await service.GetToken(Wide);

        IsEmpty(await service.Revoke(TokenDraft.Of(token).With("client_id", Sample.Job).With("sub", Sample.Job).Unsigned()));

        (await service.IsActive(token)).Should().BeTrue();
    }

    [Fact]
    public async Task Many_at_once_are_all_revoked()
    {
        await using var service = await Start();
        var tokens = await Task.WhenAll(Enumerable.Range(0, 100).Select(_ => service.GetToken()));

        foreach (var answer in await Task.WhenAll(tokens.Concat(tokens).Select(token => service.Revoke(token))))
        {
            IsEmpty(answer);
        }

        (await Task.WhenAll(tokens.Select(token => service.IsActive(token)))).Should().NotContain(true);
        Kept(service).Should().Be(100);
    }

    private static Task<RunningService> Start(TimeProvider? clock = null) => RunningService.Start(folder: null, clock, File);

    private static long Kept(RunningService service) => StoreFile.Number(service.Folder, "SELECT COUNT(*) FROM revoked_tokens");

    internal static void IsEmpty(Answer answer)
    {
        (answer.Status, answer.Body).Should().Be((200, ""));
        answer.Response.Headers.Concat(answer.Response.Content.Headers)
            .Where(header => header.Key != "Date")
            .Select(header => $"{header.Key}: {string.Join(',', header.Value)}")
            .Should().BeEquivalentTo("Cache-Control: no-store", "Pragma: no-cache", "Content-Length: 0");
    }
}
