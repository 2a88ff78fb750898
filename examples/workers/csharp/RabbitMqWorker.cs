// A worker on RabbitMQ: dotnet run rabbitmq amqp://user:password@host
using RabbitMQ.Client;
using RabbitMQ.Client.Events;

namespace Sluiced.Workers;

public static class RabbitMqWorker
{
    private const string Queue = "webhooks";

    // Messages that wait here for their next attempt count too.
    private const ushort Prefetch = 32;

    public static async Task Consume(string url, Inbox inbox, CancellationToken stopping)
    {
        // Program.cs connects again, and begins anew: a channel that came back by itself would know nothing of the
        // deliveries of the one before.
        var factory = new ConnectionFactory { Uri = new Uri(url), AutomaticRecoveryEnabled = false };
        // What isn't acknowledged when it is closed goes back into the queue.
        await using var connection = await factory.CreateConnectionAsync(stopping);
        await using var channel = await connection.CreateChannelAsync(cancellationToken: stopping);
        await channel.BasicQosAsync(0, Prefetch, false, stopping);
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        channel.ChannelShutdownAsync += (_, reason) =>
        {
            ended.TrySetException(new IOException(reason.ReplyText));
            return Task.CompletedTask;
        };
        using var stop = stopping.Register(() => ended.TrySetResult());
        // One after the other: ConsumerDispatchConcurrency is 1.
        var consumer = new AsyncEventingBasicConsumer(channel);
        consumer.ReceivedAsync += (_, delivery) => Handle(channel, delivery, inbox, stopping);
        consumer.UnregisteredAsync += (_, _) =>
        {
            ended.TrySetException(new IOException("the queue is gone"));
            return Task.CompletedTask;
        };
        await channel.BasicConsumeAsync(Queue, autoAck: false, consumer, stopping);
        await ended.Task;
    }

    private static async Task Handle(
        IChannel channel, BasicDeliverEventArgs delivery, Inbox inbox, CancellationToken stopping)
    {
        if (stopping.IsCancellationRequested) return;
        // A quorum queue counts. `sluiced work`, which puts a failed message back as a new one, counts itself.
        object? failures = null;
        delivery.BasicProperties.Headers?.TryGetValue("x-delivery-count", out failures);
        var attempt = 1 + Convert.ToInt32(failures ?? 0);
        try
        {
            inbox.Handle(delivery.Body);
        }
        catch (Exception error)
        {
            if (Inbox.IsDead(delivery.BasicProperties.MessageId, attempt, error))
            {
                // By the queue's x-dead-letter-exchange to the queue webhooks.dead. A queue without one DELETES it.
                await channel.BasicNackAsync(delivery.DeliveryTag, false, requeue: false, CancellationToken.None);
                return;
            }
            _ = TryAgain(channel, delivery.DeliveryTag, Inbox.RetryDelay(attempt), stopping);
            return;
        }
        await channel.BasicAckAsync(delivery.DeliveryTag, false, CancellationToken.None);
    }

    private static async Task TryAgain(IChannel channel, ulong tag, TimeSpan delay, CancellationToken stopping)
    {
        try
        {
            await Task.Delay(delay, stopping);
            await channel.BasicNackAsync(tag, false, requeue: true, stopping);
        }
        catch (Exception)
        {
            // The channel is closed, and with that the message is back in the queue.
        }
    }
}
