using System;
using System.Buffers;
using System.Collections.Immutable;

namespace TokenService.Protocol;

/// <summary>The grammar of <c>scope</c> (RFC 6749 §3.3): names of printable ASCII without <c>"</c> and <c>\</c>, single spaces between.</summary>
public static class ScopeSyntax
{
    /// <summary>How many names one <c>scope</c> may have.</summary>
    public const int MaxNames = 256;

    private static readonly SearchValues<char> s_nameCharacters = SearchValues.Create(
        "!#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~");

    /// <summary>Whether this may be the name of a scope.</summary>
    public static bool IsName(ReadOnlySpan<char> name) => !name.IsEmpty && !name.ContainsAnyExcept(s_nameCharacters);

    /// <summary>The names in a scope, each once, in the order they were first written.</summary>
    /// <returns>The names, or <see langword="null"/> where the scope is malformed or has more than <see cref="MaxNames"/> names.</returns>
    public static ImmutableArray<string>? Split(string scope)
    {
        var names = ImmutableArray.CreateBuilder<string>(4);
        var count = 0;
        foreach (var range in scope.AsSpan().Split(' '))
        {
            var name = scope.AsSpan()[range];
            if (!IsName(name) || ++count > MaxNames)
            {
                return null;
            }

            // So few that looking through them is cheap.
            var text = name.ToString();
            if (!names.Contains(text))
            {
                names.Add(text);
            }
        }

        return names.DrainToImmutable();
    }
}
