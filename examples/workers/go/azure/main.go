// A worker on Azure Storage Queue: go run ./azure "CONNECTION STRING" [QUEUE]
package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2/queueerror"

	"example.com/sluiced-workers/inbox"
)

const idleFirst, idleMax = 100 * time.Millisecond, 5 * time.Second

type worker struct {
	queue, poison *azqueue.QueueClient
	box           *inbox.Inbox
}

func main() {
	name := "webhooks"
	if len(os.Args) > 2 {
		name = os.Args[2]
	}
	queue, err := azqueue.NewQueueClientFromConnectionString(os.Args[1], name, nil)
	if err != nil {
		log.Fatal("the connection string can't be read")
	}
	poison, err := azqueue.NewQueueClientFromConnectionString(os.Args[1], name+"-poison", nil)
	if err != nil {
		log.Fatal("the connection string can't be read")
	}
	box, err := inbox.Open("work.db")
	if err != nil {
		log.Fatal(err)
	}
	stopping, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	worker := &worker{queue, poison, box}
	for idle := idleFirst; stopping.Err() == nil; {
		found, err := worker.step()
		if err != nil {
			// Also while the daemon hasn't made the queue yet.
			log.Printf("queue: %v; trying again", err)
		}
		if found {
			idle = idleFirst
			continue
		}
		select {
		case <-stopping.Done():
		case <-time.After(idle):
		}
		if idle *= 2; idle > idleMax {
			idle = idleMax
		}
	}
}

// step works off one message, if there is one. It isn't interrupted by a stop. Work that takes longer than
// inbox.Lease renews it with UpdateMessage.
func (worker *worker) step() (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), inbox.Lease)
	defer cancel()
	one, lease := int32(1), int32(inbox.Lease/time.Second)
	answer, err := worker.queue.DequeueMessages(ctx, &azqueue.DequeueMessagesOptions{
		NumberOfMessages: &one, VisibilityTimeout: &lease,
	})
	if err != nil || len(answer.Messages) == 0 {
		return false, err
	}
	return true, worker.handle(ctx, answer.Messages[0])
}

func (worker *worker) handle(ctx context.Context, message *azqueue.DequeuedMessage) error {
	attempt := int(*message.DequeueCount)
	err := worker.work(*message.MessageText)
	if err != nil {
		if !inbox.IsDead(*message.MessageID, attempt, err) {
			delay := int32(inbox.RetryDelay(attempt) / time.Second)
			_, err := worker.queue.UpdateMessage(ctx, *message.MessageID, *message.PopReceipt, *message.MessageText,
				&azqueue.UpdateMessageOptions{VisibilityTimeout: &delay})
			return err
		}
		// Safe among the dead letters before it is deleted. A crash in between leaves it in both.
		if err := worker.bury(ctx, *message.MessageText); err != nil {
			return err
		}
	}
	_, err = worker.queue.DeleteMessage(ctx, *message.MessageID, *message.PopReceipt, nil)
	if queueerror.HasCode(err, queueerror.MessageNotFound, queueerror.PopReceiptMismatch) {
		// The lease was lost: another worker has it, and the inbox knows what is done.
		log.Printf("%s: its lease was over", *message.MessageID)
		return nil
	}
	return err
}

func (worker *worker) work(text string) error {
	payload, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("%w: not base64: %v", inbox.ErrPoison, err)
	}
	return worker.box.Handle(payload)
}

func (worker *worker) bury(ctx context.Context, text string) error {
	if _, err := worker.poison.Create(ctx, nil); err != nil && !queueerror.HasCode(err, queueerror.QueueAlreadyExists) {
		return err
	}
	forEver := int32(-1)
	_, err := worker.poison.EnqueueMessage(ctx, text, &azqueue.EnqueueMessageOptions{TimeToLive: &forEver})
	return err
}
