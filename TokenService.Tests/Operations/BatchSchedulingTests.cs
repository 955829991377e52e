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
public sealed class BatchSchedulingTests
{
    // The policy is the 41st field of proc(5), and the command the second, in parentheses. SCHED_BATCH is 3.
    [NeedsFact("taskset", "apt-get install util-linux")]
    public async Task No_thread_that_wakes_up_interrupts_another_one()
    {
        using var folder = new TemporaryFolder();
        var port = RunningProgram.FreePort();
        await using var program = await new Cli(folder).Serve(port);
        (await LoadClients.Run(port, 16, TimeSpan.FromSeconds(1), () => "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray())).Others(200).Should().Be(0);

        var policies = Directory.GetDirectories($"/proc/{program.Id}/task")
            .Select(thread => File.ReadAllText(Path.Combine(thread, "stat")))
            .Select(stat => (Name: stat[..(stat.LastIndexOf(')') + 1)], Policy: stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[38]))
            .ToList();

        // What was there before the program itself began: threads that wait for signals, and for the collector of garbage.
        policies.Should().NotBeEmpty();
        policies.Where(thread => thread.Name.Contains(".NET TP Worker", StringComparison.Ordinal) || thread.Name.Contains(".NET Sockets", StringComparison.Ordinal))
            .Should().HaveCountGreaterThan(1).And.OnlyContain(thread => thread.Policy == "3");
    }
}
