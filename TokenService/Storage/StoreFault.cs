using System;
using Microsoft.Data.Sqlite;
using Npgsql;

namespace TokenService.Storage;

/// <summary>Why the store fails, twice.</summary>
/// <param name="Reason">In plain words that anybody may read: no path, name or address of the installation.</param>
/// <param name="Detail">What the driver says, for the log.</param>
public sealed record StoreFault(string Reason, string Detail)
{
    /// <summary>No answer came in time.</summary>
    public static StoreFault NoAnswer(TimeSpan within) => new("it does not answer", $"There was no answer within {within.TotalSeconds} s.");

    /// <summary>Reads a fault of the store.</summary>
    public static StoreFault Of(Exception fault) => new(
        (fault is StoreUnavailableException { InnerException: { } cause } ? cause : fault) switch
        {
            SqliteException sqlite => Of(sqlite.SqliteErrorCode),
            PostgresException server => Of(server.SqlState),
            NpgsqlException => "it cannot be reached or does not answer",
            StoreUnavailableException => "its file is gone, or was cut or replaced",
            _ => "the log says why",
        },
        fault.Message);

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

    private static string Of(int sqliteErrorCode) => sqliteErrorCode switch
    {
        5 or 6 => "it is locked by another program",
        8 => "it is read-only",
        10 => "its disk fails",
        11 or 26 => "its file is damaged",
        13 => "its disk is full",
        14 => "its file is gone or cannot be opened",
        _ => "the log says why",
    };

    private static string Of(string sqlState) => sqlState switch
    {
        "25006" => "it is read-only",
        "53100" => "its disk is full",
        "53300" => "it has no connection left",
        "57014" or "55P03" => "it does not answer in time",
        ['5', '7', 'P', ..] => "it is starting or stopping",
        ['2', '8', ..] => "it refuses the login",
        _ => "the log says why",
    };
}
