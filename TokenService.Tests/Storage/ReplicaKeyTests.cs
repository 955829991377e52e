using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Net.Http;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Storage;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Storage;

/// <summary>Three replicas make one signing key when one is due, and none signs with a key that a verifier could not have.</summary>
[Trait("Storage", "PostgreSql")]
public sealed class ReplicaKeyTests(OwnPostgreSqlServer own, ITestOutputHelper output) : IClassFixture<OwnPostgreSqlServer>
{
    // Younger than this is no key in these tests.
    private const int RotationHours = 1;

    private static int Rotations => LongForm.Of(2, 20);

    private static int SkewedRotations => LongForm.Of(1, 10);

    [NeedsPostgreSqlFact]
    public async Task A_key_that_falls_due_at_three_replicas_at_once_gets_one_successor_which_no_verifier_meets_unknown()
    {
        await using var replicas = await ReplicaSet.Start(own.Server, Ledger.File, Settings(publishAhead: 10));
        await using var verifying = new Verifying(replicas);
        for (var round = 0; round < Rotations; round++)
        {
            var before = await replicas.Kids(0);
            using (ReplicaTests.Hold(replicas, Turn.Registry))
            {
                FallDue(replicas);

                // All have decided that a key is due, have made one, and wait to write it.
                await ReplicaTests.Waiting(replicas, Turn.Registry, ReplicaSet.Count);
            }

            await OneNew(replicas, before, verifying);
        }

        await verifying.End();
        output.WriteLine($"{Rotations} rotations, {verifying}");
        verifying.Kids.Should().HaveCount(Rotations + 1, "each key has signed");
    }

    [NeedsPostgreSqlFactWith(ClockShift.Programs, ClockShift.InstalledBy)]
    public async Task Replicas_whose_clocks_are_twenty_seconds_apart_agree_on_keys_assertions_and_tokens()
    {
        // A replica that is ahead signs with a key that much earlier than its verifiers expect it: the key is published for longer.
        await using var replicas = ReplicaSet.Make(own.Server, Settings(publishAhead: 50));
        await replicas.Apply(Ledger.File);
        int[] shifts = [-10, 0, 10];
        foreach (var replica in ReplicaSet.All)
        {
            await replicas.Serve(replica, await ClockShift.Make(replicas.FolderOf(replica).File("clock"), TimeSpan.FromSeconds(shifts[replica])));
            using var answer = await replicas.Jwks(replica);
            (answer.Headers.Date!.Value - DateTimeOffset.UtcNow).TotalSeconds.Should().BeApproximately(shifts[replica], 4, "that is its clock");
        }

        await using var verifying = new Verifying(replicas);
        for (var round = 0; round < SkewedRotations; round++)
        {
            var before = await replicas.Kids(0);
            FallDue(replicas);
            var changing = OneNew(replicas, before, verifying);
            do
            {
                await Agree(replicas);
                await Task.Delay(1000);
            }
            while (!changing.IsCompleted);
            await changing;
        }

        await verifying.End();
        output.WriteLine($"{SkewedRotations} rotations with clocks {string.Join(", ", shifts)} s beside the right one, {verifying}");
        verifying.Kids.Should().HaveCount(SkewedRotations + 1);
    }

    private static string[] Settings(int publishAhead) =>
    [
        $"--TokenService:KeyRotation={RotationHours:00}:00:00", $"--TokenService:KeyPublishAhead=00:00:{publishAhead}", "--TokenService:SigningAlgorithm=ES256",
    ];

    // As if all keys were older by what one may become.
    private static void FallDue(ReplicaSet replicas) => StoreFile.Execute(replicas.Folder, $"""
        UPDATE signing_keys SET created_at = created_at - {RotationHours * 3_600_000}, signs_from = COALESCE(signs_from, created_at) - {RotationHours * 3_600_000};
        UPDATE store_version SET version = version + 1;
        NOTIFY token_service
        """);

    // One more key, and no further one after that, until all sign with it.
    private static async Task OneNew(ReplicaSet replicas, string[] before, Verifying verifying)
    {
        await ReplicaTests.Until(async () => (await replicas.Kids(0)).Length > before.Length);
        var made = (await replicas.Kids(0)).Except(before).Should().ContainSingle().Subject;
        await verifying.Meets(made);
        foreach (var replica in ReplicaSet.All)
        {
            await ReplicaTests.Until(async () => new JsonWebToken((await replicas.Token(replica)).AccessToken).Kid == made);
            (await replicas.Kids(replica)).Should().BeEquivalentTo([.. before, made]);
        }

        StoreFile.Texts(replicas.Folder, "SELECT kid FROM signing_keys").Should().BeEquivalentTo([.. before, made]);
    }

    // What one has answered counts at the others, whichever is ahead.
    private static async Task Agree(ReplicaSet replicas)
    {
        for (var one = 0; one < ReplicaSet.Count; one++)
        {
            var other = (one + 1 + Random.Shared.Next(ReplicaSet.Count - 1)) % ReplicaSet.Count;
            var assertion = replicas.Assertion();
            var answer = await replicas.Send(one, assertion);
            answer.Status.Should().Be(200, answer.Body);
            (await replicas.Send(other, assertion)).Status.Should().Be(401, "it was used");
            (await replicas.IsActive(other, answer.AccessToken)).Should().BeTrue("it is live, though it may be of the future there");
            var token = (await replicas.Token(one)).AccessToken;
            (await replicas.Revoke(one, token)).Status.Should().Be(200);
            await ReplicaTests.Until(async () => await replicas.IsActive(other, token) == false);
        }
    }

    /// <summary>
    /// A resource server that keeps the JWKS for as long as it may and has it from any replica, and clients that get tokens from all of them:
    /// it can check each.
    /// </summary>
    private sealed class Verifying : IAsyncDisposable
    {
        private readonly CancellationTokenSource _end = new();
        private readonly ConcurrentDictionary<string, bool> _kids = new();
        private readonly ConcurrentQueue<string> _faults = new();
        private readonly CachingVerifier _verifier;
        private readonly Task _asking;
        private int _checked;

        public Verifying(ReplicaSet replicas)
        {
            _verifier = new CachingVerifier(() => replicas.Jwks(Random.Shared.Next(ReplicaSet.Count)), TimeProvider.System);
            _asking = Task.WhenAll(ReplicaSet.All.Select(replica => Task.Run(() => Ask(replicas, replica))));
        }

        public ICollection<string> Kids => _kids.Keys;

        public override string ToString() => string.Create(
            CultureInfo.InvariantCulture, $"{_checked} tokens of {_kids.Count} keys checked, {_verifier.Fetches} fetches of the JWKS, {_faults.Count} faults");

        public Task<TimeSpan> Meets(string kid) => ReplicaTests.Until(() => Task.FromResult(_kids.ContainsKey(kid) || !_faults.IsEmpty));

        public async Task End()
        {
            await _end.CancelAsync();
            await _asking;
            _faults.Should().BeEmpty();
            _checked.Should().BeGreaterThan(100);
        }

        public async ValueTask DisposeAsync()
        {
            await _end.CancelAsync();
            await _asking;
            _end.Dispose();
        }

        private async Task Ask(ReplicaSet replicas, int replica)
        {
            while (!_end.IsCancellationRequested)
            {
                try
                {
                    var answer = await replicas.Token(replica);
                    if (answer.Status != 200)
                    {
                        _faults.Enqueue(answer.Body);
                        continue;
                    }

                    var kid = new JsonWebToken(answer.AccessToken).Kid;
                    if (!await _verifier.Checks(answer.AccessToken))
                    {
                        _faults.Enqueue($"{replica} signs with {kid}, which the verifier does not know.");
                    }

                    _kids[kid] = true;
                    Interlocked.Increment(ref _checked);
                }
                catch (HttpRequestException fault)
                {
                    _faults.Enqueue(fault.Message);
                }

                await Task.Delay(20);
            }
        }
    }
}
