using System;
using System.Buffers;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using FluentAssertions;
using TokenService.Clients;
using TokenService.Keys;
using TokenService.Operations;
using Xunit;

namespace TokenService.Tests.Operations;

public sealed class AuditVerificationTests
{
    private static readonly SigningKey s_key = SigningKey.Generate("ES256");
    private static readonly SigningKey s_other = SigningKey.Generate("ES256");

    // Twelve records: 1 the start, 2 and 7 checkpoints, 12 the end.
    private static readonly string[] s_log = Log(s_key, s_key);

    [Fact]
    public void A_log_as_it_was_written_is_right_and_ended()
    {
        var log = Verify(s_log);

        log.Fault.Should().BeNull();
        (log.Records, log.Chains, log.OpenRuns, log.TornBytes, log.IsEnded).Should().Be((12, 1, 0, 0, true));
        (log.First, log.Last!.Sequence, log.LastSigned!.Sequence).Should().Be((1, 12, 12));
    }

    [Fact]
    public void Any_one_changed_byte_is_found_in_its_line()
    {
        foreach (var (place, line) in s_log.Index())
        {
            for (var at = 0; at < line.Length; at++)
            {
                var changed = line[..at] + (char)(line[at] ^ 1) + line[(at + 1)..];
                var fault = Verify([.. s_log[..place], changed, .. s_log[(place + 1)..]]).Fault;
                fault.Should().NotBeNull($"byte {at} of line {place + 1} was changed");
                fault!.Line.Should().Be(place + 1, $"byte {at} was changed: {fault.What}");
                fault.Sequence.Should().Be(place == 0 ? null : place + 1);
            }
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(6)]
    [InlineData(7)]
    [InlineData(11)]
    public void A_dropped_record_is_named(int dropped)
        => Fault([.. s_log[..(dropped - 1)], .. s_log[dropped..]]).Should().Be(
            (dropped, dropped, $"record {dropped} is missing between {dropped - 1} and {dropped + 1}"));

    [Fact]
    public void Several_dropped_records_are_named()
        => Fault([.. s_log[..3], .. s_log[6..]]).Should().Be((4, 4, "records 4 to 6 are missing between 3 and 7"));

    [Theory]
    [InlineData(2)]
    [InlineData(6)]
    [InlineData(11)]
    public void A_pair_in_reversed_order_is_named(int first)
        => Fault([.. s_log[..(first - 1)], s_log[first], s_log[first - 1], .. s_log[(first + 1)..]]).Should().Be(
            (first + 1, first, $"record {first} was moved: it stands here, and belongs before line {first} of audit.log"));

    [Fact]
    public void A_record_that_stands_there_twice_is_named()
        => Fault([.. s_log[..5], .. s_log[3..]]).Should().Be((6, 4, "record 4 stands here again, or out of its order, behind record 5"));

    [Fact]
    public void A_changed_record_whose_hash_was_made_anew_is_named()
        => Fault([.. s_log[..3], Remade(s_log[3]), .. s_log[4..]]).Should().Be(
            (4, 4, "record 4 was changed, and its hash made anew: record 5 was written behind another one"));

    [Fact]
    public void A_log_that_was_made_anew_whole_lacks_the_signature()
    {
        var forged = Log(s_other, s_other).Select(line => line.Replace(s_other.Kid, s_key.Kid, StringComparison.Ordinal)).Select(Remade);

        Fault([.. forged.Take(2)]).Should().Be(
            (2, 2, "record 2 was changed: its signature does not hold. What stands before it may have been made anew, back to the last one that holds"));
    }

    [Fact]
    public void A_checkpoint_without_its_signature_is_named()
    {
        var unsigned = s_log[6][..s_log[6].IndexOf(",\"signature\"", StringComparison.Ordinal)] + "}";

        Fault([.. s_log[..6], unsigned, .. s_log[7..]]).Should().Be((7, 7, "record 7 was changed: it lacks its signature"));
    }

    [Fact]
    public void Something_that_is_no_record_is_named()
    {
        Fault([.. s_log[..4], "hello", .. s_log[4..]]).Should().Be((5, 5, "it is no audit record: record 5 was changed, or something was put there"));
        Fault([.. s_log[..4], "", .. s_log[4..]]).Should().Be((5, 5, "it is no audit record: record 5 was changed, or something was put there"));
        Fault(["hello"]).Should().Be((1, null, "it is no audit record"));
    }

    [Fact]
    public void Records_that_no_signature_vouches_for_are_counted_also_those_of_a_chain_before_another()
    {
        Verify(s_log).NotSigned.Should().Be(0);
        Verify(s_log[..11]).NotSigned.Should().Be(4, "the last checkpoint is record 7");
        var killed = Verify([.. s_log[..9], .. s_log]);
        (killed.Fault, killed.Chains, killed.NotSigned, killed.IsEnded).Should().Be((null, 2, 2, true));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_chain_that_nothing_signs_is_named_wherever_it_was_put(bool last)
    {
        // Whoever can write the file can make one: it takes no key.
        var forged = s_log[..1];
        string[] log = last ? [.. s_log, .. forged] : [.. s_log, .. forged, .. s_log];

        Verify(log).Fault.Should().Be(new AuditFault(
            "audit.log", 13, 1, "nothing in the chain that begins here is signed: it was put there, or its service was killed as it began"));
    }

    [Fact]
    public void What_stands_in_a_record_does_not_reach_the_terminal_as_it_is()
    {
        var record = new ArrayBufferWriter<byte>();
        var last = AuditLine.Read(Encoding.UTF8.GetBytes(s_log[4]))!;
        new AuditChain(last.Sequence, last.Hash).Append(record, new AuditRecord(AuditEvents.Checkpoint, DateTimeOffset.UnixEpoch) { Kid = "\u001b[2J\nRecords", Algorithm = "RS256" });
        var line = Encoding.UTF8.GetString(record.WrittenSpan).TrimEnd()[..^1] + ",\"signature\":\"AAAA\"}";

        Fault([.. s_log[..5], line]).What.Should().StartWith("record 6 is signed with the key \\u001B[2J\\u000ARecords, which is not known here");
    }

    [Fact]
    public void A_later_key_that_is_known_vouches_for_what_one_before_it_signed()
    {
        var log = Log(s_other, s_key);

        Verify(log).Fault.Should().BeNull();
        Fault(log[..11]).Should().Be((2, 2, $"record 2 is signed with the key {s_other.Kid}, which is not known here; name a JWKS that has it with --jwks"));
    }

    [Fact]
    public void An_unknown_key_behind_the_last_known_one_is_named()
        => Verify(Log(s_key, s_other)).Fault!.Sequence.Should().Be(12);

    [Fact]
    public void What_nothing_signs_is_not_right()
    {
        Verify(s_log[..1]).Fault!.What.Should().Be("nothing in it is signed: it is no audit log, or only its beginning");
        Verify([]).Fault!.What.Should().Be("nothing in it is signed: it is no audit log, or only its beginning");
    }

    [Fact]
    public void Of_a_log_that_was_cut_it_is_said_that_it_does_not_end()
    {
        for (var left = 2; left < s_log.Length; left++)
        {
            var log = Verify(s_log[..left]);
            (log.Fault, log.IsEnded, log.OpenRuns, log.Last!.Sequence).Should().Be((null, false, 1, left));
        }

        var torn = Verify(s_log[..5], s_log[5][..50]);
        (torn.Fault, torn.IsEnded, torn.TornBytes, torn.Last!.Sequence).Should().Be((null, false, 50, 5));
        Verify(s_log, "x").IsEnded.Should().BeFalse();
    }

    [Fact]
    public void The_second_file_of_a_log_goes_on_behind_the_first()
    {
        var later = Verify(s_log[4..]);
        (later.Fault, later.First, later.IsEnded).Should().Be((null, 5, true));

        // The end of the first one was cut off.
        var whole = new AuditVerification(Known);
        Add(whole, "audit.log.1", s_log[..3], s_log[3][..20]);
        Add(whole, "audit.log", s_log[4..]);
        whole.End();
        whole.Fault.Should().Be(new AuditFault("audit.log", 1, 4, "record 4 is missing between 3 and 5"));

        // It was written once more, to the second one.
        whole = new AuditVerification(Known);
        Add(whole, "audit.log.1", s_log[..3], s_log[3][..20]);
        Add(whole, "audit.log", s_log[3..]);
        whole.End();
        (whole.Fault, whole.IsEnded).Should().Be((null, true));
    }

    private static string[] Log(SigningKey first, SigningKey last)
    {
        var lines = new ArrayBufferWriter<byte>();
        var chain = new AuditChain(0, null);
        var time = new DateTimeOffset(2026, 11, 26, 12, 0, 0, TimeSpan.Zero);
        chain.Append(lines, new AuditRecord(AuditEvents.Start, time) { Settings = [("Issuer", "https://auth.example.com")] });
        chain.Append(lines, new AuditRecord(AuditEvents.Checkpoint, time), first);
        Refusals(4);
        chain.Append(lines, new AuditRecord(AuditEvents.Checkpoint, time), first);
        Refusals(4);
        chain.Append(lines, new AuditRecord(AuditEvents.End, time), last);
        return Encoding.UTF8.GetString(lines.WrittenSpan).Split('\n', StringSplitOptions.RemoveEmptyEntries);

        void Refusals(int count)
        {
            for (var i = 0; i < count; i++)
            {
                chain.Append(lines, new AuditRecord(AuditEvents.TokenRefused, time) { ClientId = "job", Outcome = "invalid_client", Reason = $"client_secret: \"{i}\"" });
            }
        }
    }

    // Another content, with the hash that goes with it.
    private static string Remade(string line)
    {
        var hashAt = line.LastIndexOf(",\"hash\"", StringComparison.Ordinal);
        var content = line[..hashAt].Replace("\"outcome\":\"invalid_client\"", "\"outcome\":\"issued\"", StringComparison.Ordinal);
        var signature = line.IndexOf(",\"signature\"", StringComparison.Ordinal) is > 0 and var at ? line[at..] : "}";
        return $"{content},\"hash\":\"{AuditLine.HashOf(Encoding.UTF8.GetBytes(content))}\"{signature}";
    }

    private static (long Line, long? Sequence, string What) Fault(string[] lines)
    {
        var fault = Verify(lines).Fault;
        return fault is null ? (0, null, "nothing") : (fault.Line, fault.Sequence, fault.What);
    }

    private static AuditVerification Verify(IEnumerable<string> lines, string? torn = null)
    {
        var verification = new AuditVerification(Known);
        Add(verification, "audit.log", lines, torn);
        verification.End();
        return verification;
    }

    private static void Add(AuditVerification verification, string file, IEnumerable<string> lines, string? torn = null)
    {
        var number = 0;
        foreach (var line in lines)
        {
            verification.Add(Encoding.UTF8.GetBytes(line), hasEnd: true, file, ++number);
        }

        if (torn is not null)
        {
            verification.Add(Encoding.UTF8.GetBytes(torn), hasEnd: false, file, ++number);
        }
    }

    private static ClientKey? Known(string kid) => kid == s_key.Kid ? new ClientKey(s_key.PublicKey) : null;
}
