using System;
using Microsoft.Data.Sqlite;
using Npgsql;

namespace TokenService.Storage;

/// <summary>Why the store fails, three times.</summary>
/// <param name="Kind">In a word, from a closed set: for metrics.</param>
/// <param name="Reason">In plain words that anybody may read: no path, name or address of the installation.</param>
/// <param name="Detail">What the driver says, for the log.</param>
public sealed record StoreFault(string Kind, string Reason, string Detail)
{
    private static readonly (string Kind, string Reason) s_readOnly = ("read_only", "it is read-only");
    private static readonly (string Kind, string Reason) s_diskFull = ("disk_full", "its disk is full");
    private static readonly (string Kind, string Reason) s_other = ("_OTHER", "the log says why");

    /// <summary>No answer came in time.</summary>
    public static StoreFault NoAnswer(TimeSpan within) => new("timeout", "it does not answer", $"There was no answer within {within.TotalSeconds} s.");

    /// <summary>Reads a fault of the store.</summary>
    public static StoreFault Of(Exception fault)
    {
        var (kind, reason) = (fault is StoreUnavailableException { InnerException: { } cause } ? cause : fault) switch
        {
            SqliteException sqlite => Of(sqlite.SqliteErrorCode),
            PostgresException server => Of(server.SqlState),
            NpgsqlException => ("unreachable", "it cannot be reached or does not answer"),
            StoreUnavailableException => ("file_replaced", "its file is gone, or was cut or replaced"),
            _ => s_other,
        };
        return new(kind, reason, fault.Message);
    }

    /// <summary>What an operator is to do about a fault at the start, to complete a message; empty where that is plain.</summary>
    internal static string Advice(Exception fault) => (fault as PostgresException)?.SqlState switch
    {
        "3D000" => "; make the database, or correct Database in ConnectionStrings:TokenService.",
        "42501" => "; let the role of Username own the database, or grant it all on its tables.",
        "53300" => "; raise max_connections of the server, or lower \"Maximum Pool Size\" in ConnectionStrings:TokenService.",
        ['2', '8', ..] => "; correct Username and Password in ConnectionStrings:TokenService, or the server's pg_hba.conf.",
        null when fault is NpgsqlException => "; start the server, or correct Host and Port in ConnectionStrings:TokenService.",
        _ => "",
    };

    private static (string Kind, string Reason) Of(int sqliteErrorCode) => sqliteErrorCode switch
    {
        5 or 6 => ("locked", "it is locked by another program"),
        8 => s_readOnly,
        10 => ("disk_failure", "its disk fails"),
        11 or 26 => ("damaged", "its file is damaged"),
        13 => s_diskFull,
        14 => ("file_missing", "its file is gone or cannot be opened"),
        _ => s_other,
    };

    private static (string Kind, string Reason) Of(string sqlState) => sqlState switch
    {
        "25006" => s_readOnly,
        "53100" => s_diskFull,
        "53300" => ("no_connection", "it has no connection left"),
        "57014" or "55P03" => ("timeout", "it does not answer in time"),
        ['5', '7', 'P', ..] => ("starting_or_stopping", "it is starting or stopping"),
        ['2', '8', ..] => ("login", "it refuses the login"),
        _ => s_other,
    };
}
