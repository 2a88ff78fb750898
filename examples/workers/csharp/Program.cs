// dotnet run rabbitmq|nats|azure URL
using System.Runtime.InteropServices;
using Sluiced.Workers;

if (args is not [var broker, var url])
{
    Console.Error.WriteLine("usage: dotnet run rabbitmq|nats|azure URL");
    return 2;
}
using var stopping = new CancellationTokenSource();
void Stop(PosixSignalContext signal)
{
    signal.Cancel = true;
    stopping.Cancel();
}
using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
using var inbox = new Inbox("work.db");
Func<Task> consume = broker switch
{
    "rabbitmq" => () => RabbitMqWorker.Consume(url, inbox, stopping.Token),
    "nats" => () => NatsWorker.Consume(url, inbox, stopping.Token),
    "azure" => () => AzureWorker.Consume(url, inbox, stopping.Token),
    _ => throw new ArgumentException($"there is no worker for {broker}"),
};
while (!stopping.IsCancellationRequested)
{
    try
    {
        await consume();
    }
    catch (OperationCanceledException) when (stopping.IsCancellationRequested)
    {
    }
    catch (Exception error)
    {
        // Also while the daemon hasn't made the queue yet.
        Console.Error.WriteLine($"broker: {error.Message.Split('\n')[0]}; trying again");
        await Task.Delay(TimeSpan.FromSeconds(1), stopping.Token).ContinueWith(_ => { });
    }
}
return 0;
