using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>Who may know whom: a folder knows only what is left of it.</summary>
public sealed partial class LayeringTests
{
    private static readonly string[][] s_order =
    [
        ["Protocol"], ["Clients", "Keys"], ["Scopes", "Tokens"], ["Authentication"], ["Grants"], ["Operations"], ["Storage"],
        ["Administration"], ["Endpoints", "Commands"], ["Program"],
    ];

    public static TheoryData<string> Files() => [.. Sources().Select(file => Path.GetRelativePath(Repository.File("TokenService"), file))];

    [Theory]
    [MemberData(nameof(Files))]
    public void A_file_knows_only_the_rooms_left_of_its_own(string file)
    {
        var text = File.ReadAllText(Repository.File("TokenService", file));
        var room = Room(file);

        Rank(room).Should().BeGreaterThanOrEqualTo(0, $"{room} is no room of the house");
        var named = KnownRooms().Matches(text).Concat(RelativeRooms().Matches(text)).Select(match => match.Groups[1].Value);
        foreach (var other in named.Where(name => name != room && Rank(name) >= 0))
        {
            Rank(other).Should().BeLessThan(Rank(room), $"{file} names {other}");
        }

        if (room != "Program")
        {
            text.Should().Contain($"namespace TokenService.{room};", "the namespace is the folder");
        }
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Only_endpoints_see_HTTP_and_only_the_storage_sees_SQL(string file)
    {
        var text = File.ReadAllText(Repository.File("TokenService", file));
        var room = Room(file);

        if (room is not ("Endpoints" or "Program"))
        {
            // In quotes it is the name of a log category.
            text.Should().NotMatchRegex("(?<!\")Microsoft\\.AspNetCore\\.");
        }

        if (room != "Storage")
        {
            text.Should().NotContain("System.Data").And.NotContain("Microsoft.Data.");
        }
    }

    [Fact]
    public void The_check_can_see_the_sources() => Sources().Should().HaveCountGreaterThan(40);

    private static IEnumerable<string> Sources() => Directory
        .EnumerateFiles(Repository.File("TokenService"), "*.cs", SearchOption.AllDirectories)
        .Where(file => !BuildOutput().IsMatch(Path.GetRelativePath(Repository.File("TokenService"), file)));

    private static string Room(string file) => file.Contains(Path.DirectorySeparatorChar, StringComparison.Ordinal)
        ? file.Split(Path.DirectorySeparatorChar)[0]
        : Path.GetFileNameWithoutExtension(file);

    private static int Rank(string room) => Array.FindIndex(s_order, rooms => rooms.Contains(room));

    [GeneratedRegex(@"\bTokenService\.([A-Z]\w+)")]
    private static partial Regex KnownRooms();

    // From inside the namespace a room can be named without its first part.
    [GeneratedRegex(@"(?<![\w.])(Protocol|Clients|Keys|Scopes|Tokens|Authentication|Grants|Operations|Storage|Administration|Endpoints|Commands)\.[A-Z]\w*\.")]
    private static partial Regex RelativeRooms();

    [GeneratedRegex(@"^(bin|obj)[/\\]")]
    private static partial Regex BuildOutput();
}
