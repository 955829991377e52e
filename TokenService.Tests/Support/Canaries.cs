using System;
using System.Buffers;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.RegularExpressions;
using TokenService.Keys;

namespace TokenService.Tests.Support;

/// <summary>
/// What must stand nowhere: secrets, tokens and keys, each in every form that somebody may write it in. The secrets that tests register carry
/// <see cref="Markers"/>; what is made as a test runs is added.
/// </summary>
internal sealed partial class Canaries
{
    /// <summary>A part of each secret that tests and samples register.</summary>
    public static readonly string[] Markers = ["-secret-0123456789abcdef", "not-a-secret-just-the-sample"];

    // Shorter pieces, and those of very few characters (zeros, in the place of a signature), are found by chance.
    private const int Shortest = 10;

    private readonly ConcurrentDictionary<string, string> _forms = new(StringComparer.Ordinal);

    // Dear to make, so once for all that is searched between two additions.
    private (int Count, SearchValues<string> Values)? _search;

    /// <summary>With the markers, and nothing else.</summary>
    public Canaries()
    {
        foreach (var marker in Markers)
        {
            AddText("the marker of a secret", marker);
        }
    }

    /// <summary>How many texts are looked for.</summary>
    public int Count => _forms.Count;

    /// <summary>A secret, or anything else that is a text.</summary>
    public void AddText(string name, string text)
    {
        var utf8 = Encoding.UTF8.GetBytes(text);
        AddBytes(name, utf8);
        Add(name, Uri.EscapeDataString(text));
        Add(name, Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(JavaScriptEncoder.Default.Encode(text))));
    }

    /// <summary>Bytes, such as a private key.</summary>
    public void AddBytes(string name, ReadOnlySpan<byte> bytes)
    {
        Add(name, Encoding.Latin1.GetString(bytes));
        Add(name, Convert.ToHexString(bytes));
        Add(name, Convert.ToHexStringLower(bytes));

        // Whatever stands before it: base64 has three ways to write the same bytes, which differ at the edges.
        for (var before = 0; before < 3; before++)
        {
            byte[] shifted = [.. new byte[before], .. bytes];
            var base64 = Convert.ToBase64String(shifted).TrimEnd('=');
            var whole = base64[(before == 0 ? 0 : before + 1)..(shifted.Length * 8 / 6)];
            Add(name, whole);
            Add(name, whole.Replace('+', '-').Replace('/', '_'));
            Add(name, Uri.EscapeDataString(whole));
        }
    }

    /// <summary>A JWT: its claims and its signature, together and alone. The header says which algorithm and which key, and may be shown.</summary>
    public void AddToken(string name, string token)
    {
        foreach (var part in token.Split('.').Skip(1).Where(part => part.Length >= Shortest))
        {
            AddText(name, part);
            if (part == token.Split('.')[^1] && System.Buffers.Text.Base64Url.IsValid(part))
            {
                AddBytes(name, System.Buffers.Text.Base64Url.DecodeFromChars(part));
            }
        }
    }

    /// <summary>The private part of a key: as a whole, each number of it alone, and each line of its PEM.</summary>
    public void AddKey(string name, AsymmetricAlgorithm key)
    {
        var pkcs8 = key.ExportPkcs8PrivateKey();
        AddBytes(name, pkcs8);
        byte[]?[] numbers;
        if (key is RSA rsa)
        {
            var all = rsa.ExportParameters(true);
            numbers = [all.D, all.P, all.Q, all.DP, all.DQ, all.InverseQ];

            // Behind the modulus, which is public: see RFC 8017, appendix A.1.2.
            foreach (var line in PrivateLines(Convert.ToBase64String(pkcs8), 12))
            {
                Add(name, line);
            }
        }
        else
        {
            numbers = [((ECDsa)key).ExportParameters(true).D];
        }

        foreach (var number in numbers)
        {
            AddBytes(name, number);
        }
    }

    /// <summary>The same of a key of the service.</summary>
    public void AddKey(string name, SigningKey key)
    {
        using var pair = key.Algorithm == "ES256" ? (AsymmetricAlgorithm)ECDsa.Create() : RSA.Create();
        pair.ImportPkcs8PrivateKey(key.ExportPrivateKey(), out _);
        AddKey(name, pair);
    }

    /// <summary>Which of them stand in a text.</summary>
    public IReadOnlyCollection<string> FoundIn(string text) => FoundIn(Encoding.UTF8.GetBytes(text));

    /// <summary>Which of them stand in what was written somewhere.</summary>
    public IReadOnlyCollection<string> FoundIn(ReadOnlySpan<byte> written)
    {
        var text = Encoding.Latin1.GetString(written);
        if (_search?.Count != _forms.Count)
        {
            _search = (_forms.Count, SearchValues.Create([.. _forms.Keys], StringComparison.Ordinal));
        }

        if (text.AsSpan().IndexOfAny(_search.Value.Values) < 0)
        {
            return [];
        }

        return [.. _forms.Where(form => text.Contains(form.Key, StringComparison.Ordinal)).Select(form => $"{form.Value}, as \"{form.Key}\", in …{Around(text, form.Key)}…")];
    }

    // So that whoever reads of it finds the place.
    private static string Around(string text, string form)
    {
        var at = text.IndexOf(form, StringComparison.Ordinal);
        var (from, to) = (Math.Max(0, at - 150), Math.Min(text.Length, at + form.Length + 60));
        return new([.. text[from..to].Select(c => c is >= ' ' and <= '~' ? c : '.')]);
    }

    /// <summary>Fails where one of them, or any token at all, stands in what was written.</summary>
    /// <param name="place">Where that is.</param>
    /// <param name="written">What was written.</param>
    public void MustNotBeIn(string place, ReadOnlySpan<byte> written)
    {
        List<string> found = [.. FoundIn(written), .. Token().Matches(Encoding.Latin1.GetString(written)).Select(token => $"a token, as \"{token.Value}\"")];
        if (found.Count > 0)
        {
            throw new CanaryException($"In {place} stands {string.Join("; ", found.Take(5))}");
        }
    }

    /// <summary>The same of a text.</summary>
    public void MustNotBeIn(string place, string written) => MustNotBeIn(place, Encoding.UTF8.GetBytes(written));

    private static IEnumerable<string> PrivateLines(string base64, int firstLine)
        => Enumerable.Range(firstLine, (base64.Length / 64) - firstLine).Select(line => base64.Substring(line * 64, 64));

    private void Add(string name, string form)
    {
        if (form.Length >= Shortest && form.Distinct().Skip(4).Any())
        {
            _forms.TryAdd(form, name);
        }
    }

    // A header and some of the claims.
    [GeneratedRegex(@"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{6,}")]
    private static partial Regex Token();
}

/// <summary>A secret, a token or a key stands where it must not.</summary>
internal sealed class CanaryException(string message) : Exception(message);
