// Package inbox is what all three workers have in common: each event's work is done once, and a failed one is tried
// again.
//
// Workers get a message at least once. The inbox remembers the messageIds that are done, in the database and in the
// transaction of the work itself: a worker that is killed has done both or neither.
package inbox

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math/rand"
	"strings"
	"time"

	_ "modernc.org/sqlite"
)

const (
	// AttemptsMax is after how many failures a message is a dead letter.
	AttemptsMax = 5
	// Lease is how long a message is ours before another worker gets it, on NATS and Azure.
	Lease      = 30 * time.Second
	retryFirst = time.Second
	retryMax   = time.Minute
	settings   = "?_pragma=busy_timeout(30000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_txlock=immediate"
)

// ErrPoison is a message that no further attempt can mend.
var ErrPoison = errors.New("poison")

// Message is a WebHookQueueContext; queues/contract/schema has all of it.
type Message struct {
	Receiver   string          `json:"receiver"`
	ID         string          `json:"id"`
	Actions    []string        `json:"actions"`
	Data       json.RawMessage `json:"data"` // a JSON body, byte for byte
	Version    int             `json:"version"`
	MessageID  string          `json:"messageId"`
	Form       *string         `json:"body"`       // a form's raw text
	BodyBase64 []byte          `json:"bodyBase64"` // the exact bytes of what isn't JSON, text or a form
}

// Inbox is the database.
type Inbox struct{ db *sql.DB }

// Open makes or opens it.
func Open(path string) (*Inbox, error) {
	db, err := sql.Open("sqlite", path+settings)
	if err != nil {
		return nil, err
	}
	_, err = db.Exec(`CREATE TABLE IF NOT EXISTS done (message_id TEXT PRIMARY KEY) WITHOUT ROWID;
		CREATE TABLE IF NOT EXISTS orders (number TEXT, receiver TEXT, body BLOB)`)
	return &Inbox{db}, err
}

// Handle does a message's work unless it is done.
func (inbox *Inbox) Handle(payload []byte) error {
	var message Message
	if err := json.Unmarshal(payload, &message); err != nil {
		return fmt.Errorf("%w: not a WebHookQueueContext: %v", ErrPoison, err)
	}
	if message.MessageID == "" || message.Version != 1 {
		return fmt.Errorf("%w: version %d, messageId %q", ErrPoison, message.Version, message.MessageID)
	}
	tx, err := inbox.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after a commit
	result, err := tx.Exec("INSERT OR IGNORE INTO done VALUES (?)", message.MessageID)
	if err != nil {
		return err
	}
	if isNew, err := result.RowsAffected(); err != nil {
		return err
	} else if isNew == 1 {
		if err := work(tx, &message); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// work is yours. Whatever it does through tx is done once; pass MessageID on as an idempotency key elsewhere.
func work(tx *sql.Tx, message *Message) error {
	var data struct{ Order json.RawMessage }
	if err := json.Unmarshal(message.Data, &data); err != nil {
		return err
	}
	if data.Order == nil {
		return errors.New("there is no order in it")
	}
	number := strings.Trim(string(data.Order), `"`)
	_, err := tx.Exec("INSERT INTO orders VALUES (?, ?, ?)", number, message.Receiver, message.Body())
	return err
}

// Body is the body as bytes. Those of XML and other text stand in Data as a JSON string.
func (message *Message) Body() []byte {
	var text string
	switch {
	case message.BodyBase64 != nil:
		return message.BodyBase64
	case message.Form != nil:
		return []byte(*message.Form)
	case string(message.Data) == "null": // an empty body; a bare JSON null comes as bodyBase64
		return nil
	case json.Unmarshal(message.Data, &text) == nil:
		return []byte(text)
	default:
		return message.Data
	}
}

// RetryDelay is a random part of 1 s after the first failure, of 2 s after the second, and so on.
func RetryDelay(attempt int) time.Duration {
	longest := retryMax
	if attempt < 7 {
		longest = retryFirst << (attempt - 1)
	}
	return longest/2 + time.Duration(rand.Int63n(int64(longest/2)))
}

// IsDead says what became of an attempt: whether the message is a dead letter now.
func IsDead(id string, attempt int, err error) bool {
	dead := errors.Is(err, ErrPoison) || attempt >= AttemptsMax
	log.Printf("%s attempt %d: %v, dead: %t", id, attempt, err, dead)
	return dead
}
