using System;
using System.IO;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Protocol;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Administration;

/// <summary><c>TokenService:ApplyFile</c> of a running service.</summary>
public sealed class ApplyFileTests
{
    private const string Grant = "grant_type=client_credentials";
    private const string Right = $"{Sample.Job}:{Sample.JobSecret}";

    [Fact]
    public async Task A_right_edit_is_in_force_within_5_seconds_and_a_wrong_one_changes_nothing()
    {
        using var folder = new TemporaryFolder();
        await using var service = await RunningService.Start(folder, null, Sample.File);
        (await service.Token(Grant, Right)).Status.Should().Be(200);

        folder.Write("clients.json", Sample.File.Replace(Sample.JobSecret, "changed", StringComparison.Ordinal));
        await Within5Seconds(async () => (await service.Token(Grant, $"{Sample.Job}:changed")).Status == 200);
        (await service.Token(Grant, Right)).Status.Should().Be(401);

        folder.Write("clients.json", "{ \"clients\": [ nonsense");
        await Task.Delay(2500);
        (await service.Token(Grant, $"{Sample.Job}:changed")).Status.Should().Be(200);

        File.Delete(folder.File("clients.json"));
        await Task.Delay(1500);
        (await service.Token(Grant, $"{Sample.Job}:changed")).Status.Should().Be(200);

        folder.Write("clients.json", Sample.File);
        await Within5Seconds(async () => (await service.Token(Grant, Right)).Status == 200);
    }

    [Fact]
    public async Task A_swapped_link_counts_as_a_change_as_it_does_for_a_mounted_secret()
    {
        using var folder = new TemporaryFolder();
        folder.Write("one.json", Sample.File);
        folder.Write("two.json", Sample.File.Replace(Sample.JobSecret, "changed", StringComparison.Ordinal));
        File.CreateSymbolicLink(folder.File("current"), folder.File("one.json"));
        await using var service = await RunningService.Start(folder, null, null, $"--TokenService:ApplyFile={folder.File("current")}");
        (await service.Token(Grant, Right)).Status.Should().Be(200);

        File.CreateSymbolicLink(folder.File("next"), folder.File("two.json"));
        File.Move(folder.File("next"), folder.File("current"), overwrite: true);

        await Within5Seconds(async () => (await service.Token(Grant, $"{Sample.Job}:changed")).Status == 200);
    }

    [Fact]
    public async Task An_edit_that_keeps_length_and_time_is_a_change_all_the_same()
    {
        using var folder = new TemporaryFolder();
        await using var service = await RunningService.Start(folder, null, Sample.File);
        await Task.Delay(1500);
        var time = File.GetLastWriteTimeUtc(folder.File("clients.json"));

        var changed = new string('c', Sample.JobSecret.Length);
        folder.Write("new.json", Sample.File.Replace(Sample.JobSecret, changed, StringComparison.Ordinal));
        File.SetLastWriteTimeUtc(folder.File("new.json"), time);
        File.Move(folder.File("new.json"), folder.File("clients.json"), overwrite: true);

        await Within5Seconds(async () => (await service.Token(Grant, $"{Sample.Job}:{changed}")).Status == 200);
    }

    [NeedsFact("mkfifo", "apt-get install coreutils")]
    public async Task A_pipe_in_the_place_of_the_file_holds_up_neither_the_start_nor_the_watch()
    {
        using var folder = new TemporaryFolder();
        (await RunningProgram.Run("mkfifo", [folder.File("pipe")])).ExitCode.Should().Be(0);
        var start = () => RunningService.Start(folder, null, null, "--TokenService:ApplyFile=pipe");
        (await start.Should().ThrowAsync<OperatorFaultException>()).Which.Message.Should().Contain("no plain file");

        await using var service = await RunningService.Start(folder, null, Sample.File);
        File.Move(folder.File("pipe"), folder.File("clients.json"), overwrite: true);
        await Task.Delay(2500);
        folder.Write("next.json", Sample.File.Replace(Sample.JobSecret, "changed", StringComparison.Ordinal));
        File.Move(folder.File("next.json"), folder.File("clients.json"), overwrite: true);
        await Within5Seconds(async () => (await service.Token(Grant, $"{Sample.Job}:changed")).Status == 200);
    }

    [Fact]
    public async Task A_wrong_edit_is_logged_with_the_place()
    {
        using var folder = new TemporaryFolder();
        folder.Write("clients.json", Sample.File);
        await using var program = await new Cli(folder).Serve(RunningProgram.FreePort(), "--TokenService:ApplyFile=clients.json");

        folder.Write("clients.json", """{ "clients": [ { "x": 1 } ] }""");

        await program.Prints("clients[0].x is not a member");
        program.Printed.Should().Contain("\"LogLevel\":\"Error\"");
    }

    [Theory]
    [InlineData("/dev/zero", "no plain file")]
    [InlineData("/dev", "no plain file")]
    [InlineData("missing.json", "cannot be read")]
    [InlineData("wrong.json", "clients[0].x is not a member")]
    public async Task A_missing_or_wrong_file_stops_the_start(string name, string message)
    {
        using var folder = new TemporaryFolder();
        folder.Write("wrong.json", """{ "clients": [ { "x": 1 } ] }""");

        var start = () => RunningService.Start(folder, null, null, $"--TokenService:ApplyFile={name}");

        (await start.Should().ThrowAsync<OperatorFaultException>()).Which.Message.Should().Contain(message);
    }

    private static async Task Within5Seconds(Func<Task<bool>> holds)
    {
        var until = DateTime.UtcNow.AddSeconds(5);
        while (!await holds())
        {
            DateTime.UtcNow.Should().BeBefore(until, "it must be in force within 5 seconds");
            await Task.Delay(100);
        }
    }
}
