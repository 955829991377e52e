using System;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Operations;

[Trait("Storage", "Sqlite")]
[Trait("Host", "OwnProgram")]
public sealed class WatchedFilesTests
{
    // Each write to a store below it would wake the service, and the system lets a user watch only so many folders.
    [Fact]
    public async Task Its_folder_is_not_watched()
    {
        using var folder = new TemporaryFolder();
        await using var program = await new Cli(folder).Serve(RunningProgram.FreePort());

        var open = Directory.GetFiles($"/proc/{program.Id}/fd").Select(file => File.ResolveLinkTarget(file, returnFinalTarget: false)?.ToString() ?? "").ToList();

        open.Should().Contain(target => target.Contains("socket:", StringComparison.Ordinal))
            .And.NotContain(target => target.Contains("inotify", StringComparison.Ordinal));
    }
}
