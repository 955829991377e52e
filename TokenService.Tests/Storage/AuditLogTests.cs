using System;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Operations;
using TokenService.Storage;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Storage;

[Trait("Host", "InProcess")]
public sealed class AuditLogTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_the_queue_does_not_take_is_counted_and_the_count_is_a_record(bool refuses)
    {
        await using var service = await RunningService.Start();
        var file = service.Folder.File("own.log");
        using (var log = new AuditLog(new AuditFile(file, _ => null), refuses, () => service.Store.Current, (_, _, _) => [], TimeProvider.System, _ => { }))
        {
            for (var i = 0; i < AuditLog.MostWaiting; i++)
            {
                log.Note(new AuditRecord(AuditEvents.TokenRefused, DateTimeOffset.UtcNow)).Should().BeTrue();
            }

            for (var i = 0; i < 3; i++)
            {
                log.Note(new AuditRecord(AuditEvents.TokenIssued, DateTimeOffset.UtcNow)).Should().Be(!refuses, "with refuse, what cannot be recorded must not be");
            }

            log.Begin(snapshot => new AuditRecord(AuditEvents.Start, DateTimeOffset.UtcNow), []);
        }

        var records = AuditRecords.Read(file);
        records.Count(record => record.Text("event") == AuditEvents.TokenRefused).Should().Be(AuditLog.MostWaiting);
        records.Single(record => record.Text("event") == AuditEvents.Dropped).GetProperty("count").GetInt64().Should().Be(3);
        records[^1].Text("event").Should().Be(AuditEvents.End);
    }

    [Fact]
    public void A_log_whose_last_line_was_changed_begins_a_new_chain_and_leaves_the_line_to_be_found()
    {
        using var folder = new TemporaryFolder();
        var file = folder.Write("audit.log", "{\"audit\":1,\"seq\":7}\n");

        using var opened = new AuditFile(file, _ => null);

        opened.Tail.Should().Be(new AuditTail(0, null, 0));
        new FileInfo(file).Length.Should().Be(20);
    }
}
