// A worker on NATS JetStream: go run ./nats nats://host
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"example.com/sluiced-workers/inbox"
)

const (
	stream, deadStream = "WEBHOOKS", "WEBHOOKS_DEAD"
	// A stream with work-queue retention has one consumer for all workers, those of `sluiced work` too.
	consumer = "sluiced"
)

func main() {
	box, err := inbox.Open("work.db")
	if err != nil {
		log.Fatal(err)
	}
	stopping, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	for stopping.Err() == nil {
		if err := consume(stopping, os.Args[1], box); err != nil {
			// Also while the daemon hasn't made the stream yet.
			log.Printf("broker: %v; trying again", err)
			select {
			case <-stopping.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

func consume(stopping context.Context, url string, box *inbox.Inbox) error {
	connection, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(500*time.Millisecond),
		nats.PingInterval(10*time.Second))
	if err != nil {
		return err
	}
	defer connection.Close()
	js, err := connection.JetStream()
	if err != nil {
		return err
	}
	if err := prepare(js); err != nil {
		return err
	}
	messages, err := js.PullSubscribe("", consumer, nats.Bind(stream, consumer))
	if err != nil {
		return err
	}
	for stopping.Err() == nil {
		batch, err := messages.Fetch(1, nats.MaxWait(time.Second))
		if err != nil && !errors.Is(err, nats.ErrTimeout) {
			return err
		}
		for _, message := range batch {
			if err := handle(js, message, box); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare uses what exists as it is: adding a consumer that exists would change it.
func prepare(js nats.JetStreamContext) error {
	if _, err := js.StreamInfo(deadStream); errors.Is(err, nats.ErrStreamNotFound) {
		if _, err := js.AddStream(&nats.StreamConfig{Name: deadStream, Subjects: []string{"webhooks-dead.>"}}); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if _, err := js.ConsumerInfo(stream, consumer); errors.Is(err, nats.ErrConsumerNotFound) {
		_, err := js.AddConsumer(stream, &nats.ConsumerConfig{
			Durable: consumer, AckPolicy: nats.AckExplicitPolicy, AckWait: inbox.Lease,
		})
		return err
	} else {
		return err
	}
}

func handle(js nats.JetStreamContext, message *nats.Msg, box *inbox.Inbox) error {
	meta, err := message.Metadata()
	if err != nil {
		return err
	}
	attempt, id := int(meta.NumDelivered), message.Header.Get("Nats-Msg-Id")
	// The server waits that long for an answer; work that takes longer is kept ours until it is done.
	working := time.NewTicker(inbox.Lease / 3)
	done := make(chan error, 1)
	go func() { done <- box.Handle(message.Data) }()
	for waiting := true; waiting; {
		select {
		case err = <-done:
			waiting = false
		case <-working.C:
			_ = message.InProgress()
		}
	}
	working.Stop()
	if err != nil {
		if !inbox.IsDead(id, attempt, err) {
			return message.NakWithDelay(inbox.RetryDelay(attempt))
		}
		if err := bury(js, message, id, attempt, meta.Sequence.Stream, err); err != nil {
			return err
		}
	}
	return message.AckSync()
}

// bury makes it safe among the dead letters before it is acknowledged; the sequence number makes a repeated burial
// none.
func bury(js nats.JetStreamContext, message *nats.Msg, id string, attempt int, sequence uint64, why error) error {
	copied := nats.NewMsg("webhooks-dead." + strings.SplitN(message.Subject, ".", 2)[1])
	copied.Data = message.Data
	for name, values := range message.Header {
		copied.Header[name] = values
	}
	copied.Header.Set("Nats-Msg-Id", fmt.Sprintf("%s/dead-%d", id, sequence))
	copied.Header.Set("sluiced-dead-reason", strings.Join(strings.Fields(why.Error()), " "))
	copied.Header.Set("sluiced-dead-attempts", fmt.Sprint(attempt))
	_, err := js.PublishMsg(copied)
	return err
}
