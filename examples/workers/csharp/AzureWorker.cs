// A worker on Azure Storage Queue: dotnet run azure "CONNECTION STRING"
using Azure;
using Azure.Storage.Queues;
using Azure.Storage.Queues.Models;

namespace Sluiced.Workers;

public static class AzureWorker
{
    private const string Name = "webhooks";
    private static readonly TimeSpan IdleFirst = TimeSpan.FromMilliseconds(100), IdleMax = TimeSpan.FromSeconds(5);

    public static async Task Consume(string connectionString, Inbox inbox, CancellationToken stopping)
    {
        // No decoding by the client: what isn't base64 would fail for ever.
        var options = new QueueClientOptions { MessageEncoding = QueueMessageEncoding.None };
        var queue = new QueueClient(connectionString, Name, options);
        var poison = new QueueClient(connectionString, $"{Name}-poison", options);
        for (var idle = IdleFirst; !stopping.IsCancellationRequested;)
        {
            QueueMessage? message = await queue.ReceiveMessageAsync(Inbox.Lease, stopping);
            if (message is not null)
            {
                await Handle(queue, poison, message, inbox);
                idle = IdleFirst;
                continue;
            }
            await Task.Delay(idle, stopping);
            idle = idle * 2 < IdleMax ? idle * 2 : IdleMax;
        }
    }

    // Work that takes longer than Inbox.Lease renews it with UpdateMessageAsync.
    private static async Task Handle(QueueClient queue, QueueClient poison, QueueMessage message, Inbox inbox)
    {
        var attempt = (int)message.DequeueCount;
        try
        {
            inbox.Handle(Decode(message.MessageText));
        }
        catch (Exception error)
        {
            if (!Inbox.IsDead(message.MessageId, attempt, error))
            {
                var delay = TimeSpan.FromSeconds(Math.Ceiling(Inbox.RetryDelay(attempt).TotalSeconds));
                await queue.UpdateMessageAsync(message.MessageId, message.PopReceipt, message.MessageText, delay);
                return;
            }
            // Safe among the dead letters before it is deleted. A crash in between leaves it in both.
            await poison.CreateIfNotExistsAsync();
            await poison.SendMessageAsync(message.MessageText, timeToLive: TimeSpan.FromSeconds(-1));
        }
        try
        {
            await queue.DeleteMessageAsync(message.MessageId, message.PopReceipt);
        }
        catch (RequestFailedException error) when (error.Status == 404)
        {
            // The lease was lost: another worker has it, and the inbox knows what is done.
            Console.Error.WriteLine($"{message.MessageId}: its lease was over");
        }
    }

    private static byte[] Decode(string text)
    {
        try
        {
            return Convert.FromBase64String(text);
        }
        catch (FormatException error)
        {
            throw new PoisonException($"not base64: {error.Message}");
        }
    }
}
