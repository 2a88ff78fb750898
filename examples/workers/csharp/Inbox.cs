// What all three workers have in common: each event's work is done once, and a failed one is tried again.
//
// Workers get a message at least once. The inbox remembers the messageIds that are done, in the database and in the
// transaction of the work itself: a worker that is killed has done both or neither.
using System.Text;
using System.Text.Json;
using Microsoft.Data.Sqlite;

namespace Sluiced.Workers;

/// <summary>A message that no further attempt can mend.</summary>
public sealed class PoisonException(string message) : Exception(message);

public sealed class Inbox : IDisposable
{
    /// <summary>After so many failures a message is a dead letter.</summary>
    public const int AttemptsMax = 5;

    /// <summary>How long a message is ours before another worker gets it, on NATS and Azure.</summary>
    public static readonly TimeSpan Lease = TimeSpan.FromSeconds(30);

    private readonly SqliteConnection db;

    public Inbox(string path)
    {
        db = new SqliteConnection($"Data Source={path};Default Timeout=30");
        db.Open();
        Execute(null, "PRAGMA journal_mode = WAL");
        Execute(null, "PRAGMA synchronous = FULL");
        Execute(null, "CREATE TABLE IF NOT EXISTS done (message_id TEXT PRIMARY KEY) WITHOUT ROWID");
        Execute(null, "CREATE TABLE IF NOT EXISTS orders (number TEXT, receiver TEXT, body BLOB)");
    }

    /// <summary>Does a message's work unless it is done; one call at a time.</summary>
    public void Handle(ReadOnlyMemory<byte> payload)
    {
        using var document = Read(payload);
        var message = document.RootElement;
        // Rolled back unless it is committed.
        using var transaction = db.BeginTransaction();
        var id = message.GetProperty("messageId").GetString()!;
        if (Execute(transaction, "INSERT OR IGNORE INTO done VALUES ($0)", id) == 1)
        {
            Work(transaction, message);
        }
        transaction.Commit();
    }

    /// <summary>
    /// Yours. Whatever it does in the transaction is done once; pass messageId on as an idempotency key elsewhere.
    /// </summary>
    private void Work(SqliteTransaction transaction, JsonElement message)
    {
        var number = message.GetProperty("data").GetProperty("order").ToString();
        var receiver = message.GetProperty("receiver").GetString()!;
        Execute(transaction, "INSERT INTO orders VALUES ($0, $1, $2)", number, receiver, BodyOf(message));
    }

    /// <summary>The body as bytes; a JSON body byte for byte.</summary>
    private static byte[] BodyOf(JsonElement message)
    {
        if (message.TryGetProperty("bodyBase64", out var base64)) return base64.GetBytesFromBase64();
        if (message.TryGetProperty("body", out var form)) return Encoding.UTF8.GetBytes(form.GetString()!);
        var data = message.GetProperty("data");
        return data.ValueKind switch
        {
            JsonValueKind.Null => [], // an empty body; a bare JSON null comes as bodyBase64
            JsonValueKind.String => Encoding.UTF8.GetBytes(data.GetString()!),
            _ => Encoding.UTF8.GetBytes(data.GetRawText()),
        };
    }

    private static JsonDocument Read(ReadOnlyMemory<byte> payload)
    {
        JsonDocument document;
        try
        {
            // The message is a little deeper than the body, which may be 128 deep.
            document = JsonDocument.Parse(payload, new JsonDocumentOptions { MaxDepth = 160 });
        }
        catch (JsonException error)
        {
            throw new PoisonException($"not a WebHookQueueContext: {error.Message}");
        }
        var isOurs = document.RootElement is { ValueKind: JsonValueKind.Object } root
            && root.TryGetProperty("messageId", out var id) && id.ValueKind == JsonValueKind.String
            && root.TryGetProperty("version", out var version) && version.ValueKind == JsonValueKind.Number
            && version.TryGetInt32(out var number) && number == 1;
        if (isOurs) return document;
        document.Dispose();
        throw new PoisonException("not a WebHookQueueContext of version 1");
    }

    private int Execute(SqliteTransaction? transaction, string sql, params object[] values)
    {
        using var command = db.CreateCommand();
        (command.Transaction, command.CommandText) = (transaction, sql);
        for (var n = 0; n < values.Length; n++) command.Parameters.AddWithValue($"${n}", values[n]);
        return command.ExecuteNonQuery();
    }

    /// <summary>A random part of 1 s after the first failure, of 2 s after the second, and so on.</summary>
    public static TimeSpan RetryDelay(int attempt) =>
        TimeSpan.FromSeconds(Math.Min(Math.Pow(2, attempt - 1), 60) * (0.5 + Random.Shared.NextDouble() / 2));

    /// <summary>Says what became of an attempt; true if the message is a dead letter now.</summary>
    public static bool IsDead(string? id, int attempt, Exception error)
    {
        var dead = error is PoisonException || attempt >= AttemptsMax;
        Console.Error.WriteLine($"{id} attempt {attempt}: {error.Message}{(dead ? ", dead" : "")}");
        return dead;
    }

    public void Dispose() => db.Dispose();
}
