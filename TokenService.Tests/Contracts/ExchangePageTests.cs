using System;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>The commands of the page about token exchange, run as they stand but for the port and the place of the store.</summary>
[Trait("Storage", "Sqlite")]
public sealed partial class ExchangePageTests
{
    [NeedsFact("bash curl", "apt-get install bash curl")]
    public async Task Every_command_works_and_the_one_that_shows_an_answer_gets_that()
    {
        using var folder = new TemporaryFolder();
        var port = RunningProgram.FreePort();
        await using var service = await new Cli(folder, "Development").Serve(port, $"--TokenService:ApplyFile={Repository.File("samples", "catalog.json")}");
        var page = await File.ReadAllTextAsync(Repository.File("docs", "exchange-a-token.md"));
        var commands = string.Concat(Shell().Matches(page).Select(match => match.Groups[1].Value))
            .Replace("localhost:5080", $"127.0.0.1:{port}", StringComparison.Ordinal)
            .Replace("dotnet run --project TokenService --", $"'{Repository.Program}' --contentRoot='{folder.Path}'", StringComparison.Ordinal);

        var finished = await RunningProgram.Run("bash", ["-c", $"set -euo pipefail\n{commands}"], folder.Path);

        finished.ExitCode.Should().Be(0, finished.Output + finished.Error);
        var shown = Answer().Match(page).Groups[1].Value.Trim();
        Shape(finished.Output).Should().StartWith(Shape(shown)).And.MatchRegex("\n?[A-Za-z0-9_-]{43}\n$", "the last command prints a secret");
    }

    private static string Shape(string answer) => Token().Replace(answer, "\"access_token\":\"…\"");

    [GeneratedRegex("```sh\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Shell();

    [GeneratedRegex("```json\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Answer();

    [GeneratedRegex("\"access_token\":\"[^\"]*\"")]
    private static partial Regex Token();
}
