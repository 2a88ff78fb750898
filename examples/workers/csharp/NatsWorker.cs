// A worker on NATS JetStream: dotnet run nats nats://host
using NATS.Client.Core;
using NATS.Client.JetStream;
using NATS.Client.JetStream.Models;
using NATS.Net;

namespace Sluiced.Workers;

public static class NatsWorker
{
    private const string Stream = "WEBHOOKS", DeadStream = "WEBHOOKS_DEAD";

    // A stream with work-queue retention has one consumer for all workers, those of `sluiced work` too.
    private const string Consumer = "sluiced";

    public static async Task Consume(string url, Inbox inbox, CancellationToken stopping)
    {
        await using var client = new NatsClient(url);
        var js = client.CreateJetStreamContext();
        var consumer = await Prepare(js, stopping);
        while (!stopping.IsCancellationRequested)
        {
            var options = new NatsJSNextOpts { Expires = TimeSpan.FromSeconds(1) };
            var message = await consumer.NextAsync<byte[]>(opts: options, cancellationToken: stopping);
            if (message is { } next) await Handle(js, next, inbox);
        }
    }

    /// <summary>What exists is used as it is: adding a consumer that exists would change it.</summary>
    private static async Task<INatsJSConsumer> Prepare(INatsJSContext js, CancellationToken stopping)
    {
        try
        {
            await js.GetStreamAsync(DeadStream, cancellationToken: stopping);
        }
        catch (NatsJSApiException error) when (error.Error.Code == 404)
        {
            await js.CreateStreamAsync(new StreamConfig(DeadStream, ["webhooks-dead.>"]), stopping);
        }
        try
        {
            return await js.GetConsumerAsync(Stream, Consumer, stopping);
        }
        catch (NatsJSApiException error) when (error.Error.ErrCode == 10014)
        {
            var config = new ConsumerConfig(Consumer) { AckPolicy = ConsumerConfigAckPolicy.Explicit, AckWait = Inbox.Lease };
            return await js.CreateConsumerAsync(Stream, config, stopping);
        }
    }

    private static async Task Handle(INatsJSContext js, INatsJSMsg<byte[]> message, Inbox inbox)
    {
        var attempt = (int)(message.Metadata?.NumDelivered ?? 1);
        var id = message.Headers?["Nats-Msg-Id"].ToString() ?? "?";
        var work = Task.Run(() => inbox.Handle(message.Data ?? []));
        // The server waits that long for an answer; work that takes longer is kept ours until it is done.
        while (await Task.WhenAny(work, Task.Delay(Inbox.Lease / 3)) != work) await message.AckProgressAsync();
        try
        {
            await work;
        }
        catch (Exception error)
        {
            if (!Inbox.IsDead(id, attempt, error))
            {
                await message.NakAsync(delay: Inbox.RetryDelay(attempt));
                return;
            }
            await Bury(js, message, id, attempt, error);
        }
        await message.AckAsync(new AckOpts { DoubleAck = true });
    }

    /// <summary>
    /// Safe among the dead letters before it is acknowledged; the sequence number makes a repeated burial none.
    /// </summary>
    private static async Task Bury(INatsJSContext js, INatsJSMsg<byte[]> message, string id, int attempt, Exception error)
    {
        var headers = new NatsHeaders();
        foreach (var (name, values) in message.Headers ?? new NatsHeaders()) headers[name] = values;
        headers["Nats-Msg-Id"] = $"{id}/dead-{message.Metadata?.Sequence.Stream}";
        headers["sluiced-dead-reason"] = string.Join(' ', error.Message.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        headers["sluiced-dead-attempts"] = $"{attempt}";
        var subject = "webhooks-dead" + message.Subject[message.Subject.IndexOf('.')..];
        var answer = await js.PublishAsync(subject, message.Data, headers: headers);
        answer.EnsureSuccess();
    }
}
