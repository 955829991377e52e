using System;
using System.IO;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Storage;

/// <summary>
/// Stores as former builds left them, one for each version of the schema (<c>Stores/schema-N.store</c>, its master key beside it). Whoever adds
/// a migration adds the store of the build before it.
/// </summary>
[Trait("Storage", "Sqlite")]
public sealed class FormerStoresTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(1, "MXe1EwR2638VtCN1VHMAR5jgBQq4DW_d_3Yn5bFcwYc", "g3i3wjj_6OldOSJbJsYDMcPxiCqv3BS4Gc1JL0hrt6I", null)]
    [InlineData(2, "_VXOl8hKIEdfA6ibDNV1SLqwOaeuHiJd1-yGFuA54As", "8L3I1dBC_lQj4BjMY6oCm0FRHBRkWfX84bGxYPZ5OJU", "p3hga2Gkzh6UnKZgA3Q5Xs5rx0qnqRKtFIb9Rnt6mMJ2dyqofh7Kgw8FPBPTTUXu")]
    [InlineData(6, "vFcCBjKeoaROFiE-gny-KcmTrlAat52SppGT-9r1A_s", "FE7v--bj5hGLHqznDDQzQysI6OLsIF2iKJmvz-X9Wu0", "UzRd6QQy1Q62TnRh6smxKEAuVv1qujKtg1OO7JfPdg9GkJLSTp74LrpnTJwbWoVe")]
    [InlineData(7, "p3mllAxjXB101aDlJZscVp3QXoJU6IiE1qoFA5SUq9c", "dfnNCJQQYiJxg7g5-EmJQqHh9l2kt4e3fai5M4WjbwA", "nZ2o2Yk7dzTyWnQv0iY_Hxy6TjL7K8f9nJTNxa9Qe8K86cMdc3WACUxwWbanoAa4")]
    [InlineData(8, "5UD0vHe5zy6ijzWMxuh5t4vHHG7CjOCHsH2LmZeDG98", "uH6bY5rv-EK2tfxDaNkNE3o3JoTRM5y08AfgM2HZISU", "13ffhWtxcL1pJ2hSmis1qtmUUq65hEgAutMbdx0Wrdfz6Gn-68EklvA4Xt86F7JB")]
    [InlineData(9, "WhycOx6rULF1vIvdvGf7Aie4cIC3Gt8T2x8--lSi0Ik", "w4x4sU1YvawxNQgNcd7EX774K1t3m2WDewaPON2ZuPY", "9wgWjfH4ZrSk5DpcsLZUPYSFAcTwx1ihPJQWhZqH7iNcRo1XBzzG_vPZutIEl1gQ")]
    public async Task A_store_of_a_former_build_opens_with_its_keys_clients_and_secrets(int schema, string kid, string secret, string? signer)
    {
        var stores = Repository.File("TokenService.Tests", "Storage", "Stores");
        File.Copy(Path.Combine(stores, $"schema-{schema}.store"), _folder.File("token-service.db"));
        File.Copy(Path.Combine(stores, $"schema-{schema}.key"), _folder.File("token-service.master-key"));

        await using var service = await RunningService.Start(_folder, null, null);

        var keys = JsonDocument.Parse(await service.Http.GetStringAsync("/.well-known/jwks.json")).RootElement.GetProperty("keys");
        keys[0].GetProperty("kid").GetString().Should().Be(kid);
        var byCommand = await service.Token("grant_type=client_credentials", $"by-command:{secret}");
        byCommand.Json.GetProperty("scope").GetString().Should().Be("catalog.read");
        var fromFile = await service.Token("grant_type=client_credentials", "from-file:kept-for-tests-0123456789abcdef0123");
        (fromFile.Json.GetProperty("scope").GetString(), fromFile.Json.GetProperty("expires_in").GetInt64()).Should().Be(("orders.read", 120));
        if (signer is not null)
        {
            var assertion = new AssertionDraft("signer", service.Url.ToString().TrimEnd('/'), DateTimeOffset.UtcNow).SignedWith(signer);
            (await service.Send(assertion)).Status.Should().Be(200);
        }
    }
}
