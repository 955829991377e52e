using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using CsCheck;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Administration;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Storage;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Administration;

/// <summary>A client's secret is changed while it works.</summary>
public sealed class RotationTests : IDisposable
{
    private const string Grant = "grant_type=client_credentials";
    private const string Right = $"{Sample.Job}:{Sample.JobSecret}";

    private static readonly TimeSpan s_hour = TimeSpan.FromHours(1);

    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _clock = new(AssertionClients.Now);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Under_load_no_request_is_refused_through_the_overlap_and_the_old_secret_after_it()
    {
        await using var service = await RunningService.Start(_folder, _clock, Sample.File);
        string[] secrets = [Sample.JobSecret];
        var answers = new ConcurrentBag<(int Status, bool New)>();
        using var end = new CancellationTokenSource();
        var load = Task.WhenAll(Enumerable.Range(0, 4).Select(worker => Task.Run(async () =>
        {
            for (var i = worker; !end.IsCancellationRequested; i++)
            {
                var known = Volatile.Read(ref secrets);
                var secret = known[i % known.Length];
                answers.Add(((await service.Token(Grant, $"{Sample.Job}:{secret}")).Status, secret != Sample.JobSecret));
            }
        })));

        await Answered(100);
        var rotated = Rotate(Sample.Job, s_hour);
        service.Store.Refresh();
        Volatile.Write(ref secrets, [Sample.JobSecret, rotated]);
        for (var step = 0; step < 12; step++)
        {
            await Answered(50);
            _clock.Advance(step < 11 ? s_hour / 12 : (s_hour / 12) - TimeSpan.FromMilliseconds(1));
        }

        await Answered(50);
        await end.CancelAsync();
        await load;

        answers.Should().OnlyContain(answer => answer.Status == 200);
        answers.Count(answer => answer.New).Should().BeGreaterThan(100);
        answers.Count(answer => !answer.New).Should().BeGreaterThan(100);

        _clock.Advance(TimeSpan.FromMilliseconds(1));
        (await service.Token(Grant, Right)).Status.Should().Be(401);
        (await service.Token(Grant, $"{Sample.Job}:{rotated}")).Status.Should().Be(200);

        async Task Answered(int more)
        {
            var until = answers.Count + more;
            while (answers.Count < until && !load.IsCompleted)
            {
                await Task.Delay(5);
            }
        }
    }

    [Fact]
    public async Task Without_an_overlap_the_old_secret_ends_at_once()
    {
        await using var service = await RunningService.Start(_folder, _clock, Sample.File);

        var rotated = Rotate(Sample.Job, TimeSpan.Zero);
        service.Store.Refresh();

        (await service.Token(Grant, Right)).Status.Should().Be(401);
        (await service.Token(Grant, $"{Sample.Job}:{rotated}")).Status.Should().Be(200);
    }

    [Fact]
    public async Task A_second_rotation_gives_the_old_secrets_no_longer_than_the_first()
    {
        await using var service = await RunningService.Start(_folder, _clock, Sample.File);
        var second = Rotate(Sample.Job, s_hour);
        _clock.Advance(s_hour / 2);
        var third = Rotate(Sample.Job, s_hour);
        service.Store.Refresh();

        await Answers((Sample.JobSecret, 200), (second, 200), (third, 200));
        _clock.Advance(s_hour / 2);
        await Answers((Sample.JobSecret, 401), (second, 200), (third, 200));
        _clock.Advance(s_hour / 2);
        await Answers((Sample.JobSecret, 401), (second, 401), (third, 200));

        // What a command made and has expired goes with the next rotation.
        Rotate(Sample.Job, s_hour);
        Client(Sample.Job).Secrets.Select(secret => secret.Id).Should().HaveCount(3)
            .And.NotContain(Id(second)).And.Contain([Id(Sample.JobSecret), Id(third)]);

        async Task Answers(params (string Secret, int Status)[] expected)
        {
            foreach (var (secret, status) in expected)
            {
                (await service.Token(Grant, $"{Sample.Job}:{secret}")).Status.Should().Be(status, Id(secret));
            }
        }
    }

    // The model: each secret that there ever was, of which client, and until when it is good.
    [Fact]
    public void Whatever_is_done_to_clients_exactly_the_secrets_that_should_be_good_are()
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        var operations = Gen.Select(Gen.Int[0, 1], Gen.OneOf("add", "add", "rotate", "rotate", "rotate now", "disable", "enable", "remove", "wait", "wait"));
        operations.Array[1, 15].Sample(
            steps =>
            {
                var (clock, run) = (new FakeTimeProvider(AssertionClients.Now), Guid.NewGuid().ToString());
                var registration = new Registration(store.Registry, clock);
                var clients = new Dictionary<string, bool>();
                var secrets = new List<(string Id, Secret Secret, DateTimeOffset? End)>();
                foreach (var (number, operation) in steps)
                {
                    var id = $"{run}-{number}";
                    switch (operation)
                    {
                        case "add" when !clients.ContainsKey(id):
                            var secret = ClientSecret.Generate(AuthenticationMethods.ClientSecretBasic);
                            registration.Add(new ClientMetadata { ClientId = id, GrantTypes = [], ClientSecrets = [secret] });
                            clients[id] = true;
                            secrets.Add((id, secret, null));
                            break;
                        case "rotate" or "rotate now" when clients.ContainsKey(id):
                            var overlap = operation == "rotate" ? s_hour : TimeSpan.Zero;
                            var end = clock.GetUtcNow() + overlap;
                            secrets = [.. secrets.Select(known => known.Id == id && (known.End is null || end < known.End) ? known with { End = end } : known)];
                            secrets.Add((id, registration.RotateSecret(id, overlap).Secret, null));
                            break;
                        case "disable" or "enable" when clients.ContainsKey(id):
                            clients[id] = operation == "enable";
                            registration.Switch(id, operation == "disable");
                            break;
                        case "remove" when clients.Remove(id):
                            registration.RemoveClient(id);
                            secrets = [.. secrets.Select(known => known.Id == id ? known with { End = DateTimeOffset.MinValue } : known)];
                            break;
                        case "wait":
                            clock.Advance(s_hour / 2);
                            break;
                    }
                }

                var (registry, now) = (store.Registry.Read(), clock.GetUtcNow());
                return secrets.TrueForAll(known => clients.Keys.Append("nobody").All(id =>
                {
                    var header = $"Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes($"{id}:{known.Secret.Reveal()}"))}";
                    var refused = ClientAuthenticator.AuthenticateBySecret(new TokenRequest { Authorization = new Secret(header) }, registry, now).Refused(out _, out _);
                    return refused != (known.Id == id && clients.GetValueOrDefault(id) && (known.End is null || now < known.End));
                }));
            },
            iter: LongForm.Of(60, 5_000));
    }

    [Fact]
    public void A_secret_that_ends_sooner_anyway_ends_then()
    {
        var sooner = AssertionClients.Now.AddMinutes(5);
        var client = new Client
        {
            ClientId = "c",
            AuthenticationMethod = AuthenticationMethods.ClientSecretBasic,
            GrantTypes = [],
            Scopes = [],
            Origin = Origin.Command,
            Secrets = [new(ClientSecret.Digest(new Secret("a")), sooner, Origin.Command), new(ClientSecret.Digest(new Secret("b")), null, Origin.Command)],
        };

        var rotation = Rotation.Of(client, s_hour, AssertionClients.Now);

        rotation.After.Secrets.Select(secret => secret.ExpiresAt).Should().Equal(sooner, AssertionClients.Now + s_hour, null);
        rotation.TakenBack(rotation.After).Secrets.Select(secret => (secret.Id, secret.ExpiresAt)).Should()
            .Equal(client.Secrets.Select(secret => (secret.Id, secret.ExpiresAt)));
    }

    [Fact]
    public void Taking_a_rotation_back_leaves_a_later_one_as_it_is()
    {
        Apply(Sample.File);
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        var registration = new Registration(store.Registry, _clock);
        var first = registration.RotateSecret(Sample.Job, s_hour);
        var second = registration.RotateSecret(Sample.Job, s_hour / 2);

        registration.TakeBack(first);

        Client(Sample.Job).Secrets.Select(secret => (secret.Id, secret.ExpiresAt)).Should().BeEquivalentTo(
            [(Id(Sample.JobSecret), _clock.GetUtcNow() + (s_hour / 2)), (Id(second.Secret.Reveal()), (DateTimeOffset?)null)]);
        registration.TakeBack(second);
        Client(Sample.Job).Secrets.Should().ContainSingle().Which.Id.Should().Be(Id(Sample.JobSecret));
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task A_secret_that_signs_is_rotated_in_the_same_way_and_kept_encrypted()
    {
        await using var service = await AssertionClients.Start(_folder, _clock);

        var rotated = Rotate(AssertionClients.MacJob, s_hour);
        service.Store.Refresh();

        rotated.Should().HaveLength(64);
        (await Send(AssertionClients.MacSecret)).Status.Should().Be(200);
        (await Send(rotated)).Status.Should().Be(200);
        StoreFile.Scalar(_folder, "SELECT COUNT(*) FROM client_secrets WHERE client_id = 'mac-job' AND secret IS NOT NULL").Should().Be(2L);
        StoreFile.Bytes(_folder).AsSpan().IndexOf(Encoding.UTF8.GetBytes(rotated)).Should().Be(-1);
        _clock.Advance(s_hour);
        (await Send(AssertionClients.MacSecret)).Status.Should().Be(401);
        (await Send(rotated)).Status.Should().Be(200);

        Task<Answer> Send(string secret) => service.Send(new AssertionDraft(AssertionClients.MacJob, AssertionClients.Issuer, _clock.GetUtcNow()).SignedWith(secret));
    }

    [Fact]
    public async Task The_file_that_still_names_an_old_secret_does_not_bring_it_back_to_life()
    {
        string rotated;
        await using (var service = await RunningService.Start(_folder, _clock, Sample.File))
        {
            rotated = Rotate(Sample.Job, s_hour);
            Apply(Sample.File).Changes.Should().BeEmpty("the file is as it was");
            service.Store.Refresh();
            (await service.Token(Grant, Right)).Status.Should().Be(200);
        }

        _clock.Advance(s_hour);
        await using (var restarted = await RunningService.Start(_folder, _clock, Sample.File))
        {
            (await restarted.Token(Grant, Right)).Status.Should().Be(401);
        }

        // No service watches the file from here on.
        await using var again = await RunningService.Start(_folder, _clock, null);
        (await again.Token(Grant, $"{Sample.Job}:{rotated}")).Status.Should().Be(200);

        // Nor does an edit of something else, or of the time that the file gives it.
        var edited = Sample.File.Replace("\"Nightly reporting\"", "\"Reporting\", \"client_secret_expires_at\": 4000000000", StringComparison.Ordinal);
        Apply(edited).Changes.Should().ContainSingle().Which.Members.Should().Equal("client_name");
        again.Store.Refresh();
        (await again.Token(Grant, Right)).Status.Should().Be(401);

        // With its hash the file takes over the new secret.
        var hash = "sha256:" + Microsoft.IdentityModel.Tokens.Base64UrlEncoder.Encode(ClientSecret.Digest(new Secret(rotated)).ToArray());
        Apply(Sample.File.Replace($"\"client_secret\": \"{Sample.JobSecret}\"", $"\"client_secret_hash\": \"{hash}\"", StringComparison.Ordinal)).Changes.Should().ContainSingle();
        again.Store.Refresh();
        (await again.Token(Grant, $"{Sample.Job}:{rotated}")).Status.Should().Be(200);
        Client(Sample.Job).Secrets.Where(secret => secret.IsLive(_clock.GetUtcNow())).Should().ContainSingle().Which.Origin.Should().Be(Origin.File);
    }

    [Fact]
    public async Task A_leaked_secret_does_not_come_back_with_an_older_file_and_an_overlap_is_as_long_as_was_promised()
    {
        await using var service = await RunningService.Start(_folder, _clock, null);
        Apply(Sample.File);
        var leaked = Rotate(Sample.Job, TimeSpan.Zero);
        var next = Sample.File.Replace(Sample.JobSecret, "the-next-secret-0123456789abcdef0123456789", StringComparison.Ordinal);
        foreach (var file in (string[])[next, Sample.File])
        {
            Apply(file);
            service.Store.Refresh();
            (await service.Token(Grant, Right)).Status.Should().Be(401);
        }

        // The other way: the file goes on to another secret while the old one is in its overlap.
        Rotate(Sample.Wide, s_hour);
        Apply(Sample.File.Replace(Sample.WideSecret, "a-wide-new-secret-0123456789abcdef0123456789", StringComparison.Ordinal));
        service.Store.Refresh();
        (await service.Token(Grant, $"{Sample.Wide}:{Sample.WideSecret}")).Status.Should().Be(200);
        _clock.Advance(s_hour);
        (await service.Token(Grant, $"{Sample.Wide}:{Sample.WideSecret}")).Status.Should().Be(401);
        leaked.Should().NotBeEmpty();
    }

    [Fact]
    public async Task Apply_leaves_a_disabled_client_disabled()
    {
        Apply(Sample.File);
        await using var service = await RunningService.Start(_folder, _clock, null);
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        new Registration(store.Registry, _clock).Switch(Sample.Job, disabled: true);

        Apply(Sample.File.Replace("\"Nightly reporting\"", "\"Reporting\"", StringComparison.Ordinal)).Changes.Should().ContainSingle();
        service.Store.Refresh();
        (await service.Token(Grant, Right)).Status.Should().Be(401);

        new Registration(store.Registry, _clock).Switch(Sample.Job, disabled: false);
        service.Store.Refresh();
        (await service.Token(Grant, Right)).Status.Should().Be(200);
    }

    private static string Id(string secret) => new ClientSecret(ClientSecret.Digest(new Secret(secret)), null, Origin.Command).Id;

    private string Rotate(string clientId, TimeSpan overlap)
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        return new Registration(store.Registry, _clock).RotateSecret(clientId, overlap).Secret.Reveal();
    }

    private Client Client(string clientId)
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        return store.Registry.Read().FindClient(clientId)!;
    }

    private ApplyPlan Apply(string file)
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        return ApplyFile.Once(DeclarativeFile.Parse(Encoding.UTF8.GetBytes(file), "clients.json", development: true), store.Registry, _clock.GetUtcNow());
    }
}
