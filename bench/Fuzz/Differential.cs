using System;
using System.Collections.Frozen;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;

namespace Fuzz;

/// <summary>Judges mutated assertions twice, by our checks and by the library's. Where they differ, the difference must be one of those that are meant.</summary>
internal static class Differential
{
    private const int AtOnce = 500;

    // A client's clock may be that far from ours, and its exp that far ahead (docs/fuzzing.md, README).
    private const double Skew = 30;
    private const double LongestLifetime = 600;
    private const double GreatestAge = 86_400;

    private static readonly double s_now = Corpus.Now.ToUnixTimeSeconds();

    /// <summary>
    /// Where our checks refuse and the library does not: by the name of the check that failed, whether the assertion is one of those for which that is meant. By
    /// nothing that our checks go by. docs/fuzzing.md lists them.
    /// </summary>
    public static readonly FrozenDictionary<string, Func<SentAssertion, bool>> Stricter = new Dictionary<string, Func<SentAssertion, bool>>
    {
        // One spelling of base64url and of JSON: no padding, no other bits, no member twice, no byte order mark, no text that is not Unicode, nesting to 16; and 16 KiB.
        ["client_assertion"] = sent => sent.IsOddlyWritten,

        // They change what the signature covers, or belong to encrypted tokens.
        ["crit"] = sent => IsThere(sent.Header("crit")),
        ["b64"] = sent => IsThere(sent.Header("b64")),
        ["zip"] = sent => IsThere(sent.Header("zip")),
        ["enc"] = sent => IsThere(sent.Header("enc")),

        // The library passes over one that is no text, or an empty one.
        ["typ"] = sent => IsThere(sent.Header("typ")) && string.IsNullOrEmpty(SentAssertion.Text(sent.Header("typ"))),

        // The library tries all keys for an unknown one.
        ["kid"] = sent => IsThere(sent.Header("kid")) && SentAssertion.Text(sent.Header("kid")) is var kid
            && (SentAssertion.Text(sent.Claim("sub")) == "key-job" ? kid is not ("1" or "2") : kid is not { Length: > 0 and <= 256 }),

        // This issuer and nobody beside it (CVE-2025-27370): the library wants it among others.
        ["aud"] = sent => sent.Claim("aud") is var audience
            && !(SentAssertion.Text(audience) == Corpus.Issuer || (audience.ValueKind == JsonValueKind.Array && audience.GetArrayLength() == 1 && SentAssertion.Text(audience[0]) == Corpus.Issuer)),

        // The library knows no longest life.
        ["exp"] = sent => SentAssertion.Number(sent.Claim("exp")) > s_now + LongestLifetime + Skew,

        // The library does not look at it.
        ["iat"] = sent => sent.IsOutside("iat", s_now - GreatestAge, s_now + Skew),

        // The library passes over one that is no time, and cuts the fraction off.
        ["nbf"] = sent => sent.IsOutside("nbf", double.Epsilon, double.PositiveInfinity) || (SentAssertion.Number(sent.Claim("nbf")) is { } time && time > s_now + Skew && Math.Floor(time) == s_now + Skew),

        // The library does not look at it.
        ["jti"] = sent => SentAssertion.Text(sent.Claim("jti")) is not { Length: > 0 and <= 256 },
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>Judges so many assertions.</summary>
    /// <param name="count">How many.</param>
    /// <param name="seed">What they follow from.</param>
    public static Report Run(long count, ulong seed)
    {
        using var targets = new Targets();
        var library = new LibraryCheck(Corpus.Issuer);
        var seeds = Corpus.Jwts("assertion.txt")[..6];
        var notes = new Notes();
        var since = Stopwatch.StartNew();
        long begun = 0;
        Parallel.For(0, Environment.ProcessorCount, _ =>
        {
            for (var from = Interlocked.Add(ref begun, AtOnce) - AtOnce; from < count; from = Interlocked.Add(ref begun, AtOnce) - AtOnce)
            {
                for (var i = from; i < Math.Min(count, from + AtOnce); i++)
                {
                    Judge(new Dice(seed, (ulong)i), seeds, targets, library, notes, i);
                }
            }
        });
        return notes.End(count, since.Elapsed);
    }

    /// <summary>
    /// Whether an assertion ends within the second in which the library, which cuts the fraction of <c>exp</c> off, takes it for past and ours, for which times count to
    /// the millisecond, does not.
    /// </summary>
    public static bool IsCutAtTheEdge(SentAssertion sent)
        => SentAssertion.Number(sent.Claim("exp")) is { } expires && expires > s_now - Skew && Math.Floor(expires) == s_now - Skew;

    private static bool IsThere(JsonElement member) => member.ValueKind != JsonValueKind.Undefined;

    private static void Judge(Dice dice, ImmutableArray<byte[]> seeds, Targets targets, LibraryCheck library, Notes notes, long index)
    {
        var seed = seeds[dice.Below(seeds.Length)];
        var input = dice.OneIn(20) ? seed : Mutation.Jwt(dice, seed, seeds, Corpus.Sign);
        var text = Encoding.UTF8.GetString(input);
        var ours = targets.CheckAssertion(text);
        var theirs = library.Refuses(text, Corpus.Now, out _);
        switch (ours, theirs)
        {
            case (null, null):
                notes.Count("both accept");
                break;
            case (not null, not null):
                notes.Count("both refuse");
                break;
            case (not null, null):
                notes.Count($"only ours refuses: {ours.Failed.Name}");
                if (!Stricter.TryGetValue(ours.Failed.Name, out var isMeant) || !isMeant(new SentAssertion(text)))
                {
                    Find($"only ours refuses for {ours.Failed.Name}, and not for what is meant", ours.Reason);
                }

                break;
            default:
                var isCut = theirs == "SecurityTokenInvalidLifetimeException" && IsCutAtTheEdge(new SentAssertion(text));
                notes.Count($"only the library refuses: {(isCut ? "a fraction of a second at the end" : theirs)}");
                if (!isCut)
                {
                    Find($"only the library refuses with {theirs}", "");
                }

                break;
        }

        void Find(string kind, string reason) => notes.Find(kind, string.Create(CultureInfo.InvariantCulture, $"{reason} (index {index}) {text}"));
    }
}
