using System;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Operations;

[Trait("Storage", "Sqlite")]
[Trait("Host", "OwnProgram")]
public sealed class NativeHeapsTests
{
    private const ulong HeapSize = 64 * 1024 * 1024;

    // On one core there is one heap, and those that the runtime's own threads had before the program itself began. Otherwise nearly each thread has one.
    [NeedsFact("taskset", "apt-get install util-linux")]
    public async Task Threads_share_the_heaps_of_the_C_library()
    {
        using var folder = new TemporaryFolder();
        var port = RunningProgram.FreePort();
        await using var program = await RunningProgram.Start(
            "taskset",
            ["-c", "0", Repository.Program, $"--contentRoot={folder.Path}", $"--urls=http://127.0.0.1:{port}", $"--TokenService:Issuer=http://127.0.0.1:{port}"],
            new($"http://127.0.0.1:{port}/health/ready"),
            folder.Path);
        (await LoadClients.Run(port, 16, TimeSpan.FromSeconds(1), () => "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray())).Others(200).Should().Be(0);

        Heaps(program.Id).Should().BeLessThan(Directory.GetDirectories($"/proc/{program.Id}/task").Length / 2);
    }

    // glibc reserves 64 MiB for a heap that is not the first, at a multiple of that, and may write to the beginning of it alone (proc(5), malloc/arena.c).
    private static int Heaps(int process)
    {
        var mappings = File.ReadLines($"/proc/{process}/maps")
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Select(fields => (Range: fields[0].Split('-').Select(address => ulong.Parse(address, NumberStyles.HexNumber, CultureInfo.InvariantCulture)).ToArray(), Rights: fields[1]))
            .ToList();
        return mappings.Zip(mappings.Skip(1)).Count(pair => pair is { First.Rights: "rw-p", Second.Rights: "---p" }
            && pair.First.Range[0] % HeapSize == 0 && pair.Second.Range[0] == pair.First.Range[1] && pair.Second.Range[1] == pair.First.Range[0] + HeapSize);
    }
}
