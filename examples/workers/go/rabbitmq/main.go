// A worker on RabbitMQ: go run ./rabbitmq amqp://user:password@host [QUEUE]
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.com/sluiced-workers/inbox"
)

// Messages that wait here for their next attempt count too.
const prefetch = 32

func main() {
	queue := "webhooks"
	if len(os.Args) > 2 {
		queue = os.Args[2]
	}
	box, err := inbox.Open("work.db")
	if err != nil {
		log.Fatal(err)
	}
	stopping, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	for stopping.Err() == nil {
		if err := consume(stopping, os.Args[1], queue, box); err != nil {
			// Also while the daemon hasn't made the queue yet.
			log.Printf("broker: %v; trying again", err)
			select {
			case <-stopping.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

func consume(stopping context.Context, url, queue string, box *inbox.Inbox) error {
	connection, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	// What isn't acknowledged goes back into the queue.
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	if err := channel.Qos(prefetch, 0, false); err != nil {
		return err
	}
	deliveries, err := channel.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for {
		select {
		case <-stopping.Done():
			return nil
		case delivery, open := <-deliveries:
			if !open {
				return errors.New("the channel is closed")
			}
			if err := handle(&delivery, box); err != nil {
				return err
			}
		}
	}
}

func handle(delivery *amqp.Delivery, box *inbox.Inbox) error {
	// A quorum queue counts. `sluiced work`, which puts a failed message back as a new one, counts itself.
	failures, _ := delivery.Headers["x-delivery-count"].(int64)
	attempt := int(failures) + 1
	err := box.Handle(delivery.Body)
	if err == nil {
		return delivery.Ack(false)
	}
	if inbox.IsDead(delivery.MessageId, attempt, err) {
		// By the queue's x-dead-letter-exchange to the queue webhooks.dead. A queue without one DELETES it.
		return delivery.Nack(false, false)
	}
	again := *delivery
	time.AfterFunc(inbox.RetryDelay(attempt), func() { _ = again.Nack(false, true) })
	return nil
}
