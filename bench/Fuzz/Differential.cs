using System;
using System.Collections.Frozen;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using TokenService.Authentication;

namespace Fuzz;

/// <summary>Judges mutated assertions twice, by our checks and by the library's. Where they differ, the difference must be one of those that are meant.</summary>
internal static class Differential
{
    private const int AtOnce = 500;

    /// <summary>
    /// Where our checks refuse and the library does not, and why that is meant: by the name of the check that failed. docs/fuzzing.md lists them.
    /// </summary>
    public static readonly FrozenDictionary<string, string> Stricter = new Dictionary<string, string>
    {
        ["client_assertion"] = "one spelling of base64url and of JSON: no padding, no other bits, no member twice, no byte order mark, no text that is not Unicode, nesting to 16",
        ["crit"] = "no critical header: it changes what the signature covers",
        ["b64"] = "the same",
        ["zip"] = "that belongs to encrypted tokens",
        ["enc"] = "the same",
        ["typ"] = "a text or nothing: the library passes over one of another type",
        ["kid"] = "the kid of a registered key: the library tries all keys for an unknown one",
        ["aud"] = "this issuer and nobody beside it (CVE-2025-27370): the library wants it among others",
        ["exp"] = "at most 10 minutes ahead, and in our reading of fractions to the millisecond",
        ["iat"] = "a time, not in the future and not more than a day past: the library does not look at it",
        ["nbf"] = "a time, if it is there",
        ["jti"] = "there, a text of 1 to 256 characters: the library does not look at it",
        ["iss"] = "a text: the library turns what is none into one",
        ["sub"] = "the same",
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

    private static bool HasFraction(string text)
    {
        ClientAssertion.Read(text, out var assertion);
        return ((string[])["exp", "nbf"]).Any(name => assertion!.Claims.TryGetProperty(name, out var time) && time.TryGetDouble(out var seconds) && seconds % 1 != 0);
    }

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
                if (!Stricter.ContainsKey(ours.Failed.Name))
                {
                    Find($"only ours refuses for {ours.Failed.Name}", ours.Reason);
                }

                break;
            default:
                // It cuts the fraction of a second off; here times count to the millisecond.
                var isFraction = theirs == "SecurityTokenInvalidLifetimeException" && HasFraction(text);
                notes.Count($"only the library refuses: {(isFraction ? "a fraction of a second" : theirs)}");
                if (!isFraction)
                {
                    Find($"only the library refuses with {theirs}", "");
                }

                break;
        }

        void Find(string kind, string reason) => notes.Find(kind, string.Create(CultureInfo.InvariantCulture, $"{reason} (index {index}) {text}"));
    }
}
