using System;
using System.Linq;
using System.Threading;
using TokenService.Keys;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Tests.Support;

/// <summary>
/// RSA keys that are made once for all tests, as making one takes longer than all else of a start. A new store gets one of them, as the first start
/// would make it; several services of one test have different ones. Tests of the first start itself run the program, and those of other algorithms make their own.
/// </summary>
internal static class SigningKeyPool
{
    private static readonly Lazy<SigningKey[]> s_keys = new(() =>
        [.. Enumerable.Range(0, int.MaxValue).Select(_ => SigningKey.Generate("RS256")).Where(key => !key.Kid.StartsWith('-')).Take(12)]);

    private static int s_given;

    public static void GiveTo(TemporaryFolder folder, string[] args, TimeProvider clock)
    {
        if (folder.HasKey)
        {
            return;
        }

        folder.HasKey = true;
        try
        {
            var settings = Program.ReadSettings(Program.Builder(args)).ForService();
            if (settings.SigningAlgorithm != "RS256")
            {
                return;
            }

            using var store = Store.Open(settings);
            store.SettleMasterKey();
            if (store.Keys.Read().Keys.IsEmpty)
            {
                var (key, now) = (s_keys.Value[Interlocked.Increment(ref s_given) % s_keys.Value.Length], clock.GetUtcNow());
                StoreTransaction.Write(store.DataSource, Turn.Registry, connection =>
                {
                    store.Keys.Insert(connection, key, now, now);
                    StoreTransaction.CountVersion(store.DataSource, connection);
                });
            }
        }
        catch (Exception fault) when (fault is OperatorFaultException or StoreUnavailableException)
        {
            // The service itself says so when it starts.
        }
    }
}
