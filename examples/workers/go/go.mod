module example.com/sluiced-workers

go 1.25

require (
	github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2 v2.0.0
	github.com/nats-io/nats.go v1.55.0
	github.com/rabbitmq/amqp091-go v1.10.0
	modernc.org/sqlite v1.62.0
)
