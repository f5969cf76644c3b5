package tour

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const (
	perSecond  = 50
	aggregates = 20
)

// load writes events at a steady rate, and knows which of them arrived. The events of an aggregate
// are numbered, so that a missing one and one out of order are visible.
type load struct {
	cancel context.CancelFunc
	done   chan struct{}

	object func(bucket, key string) []byte // the body of a large event, or nil

	mu      sync.Mutex
	err     error
	written map[string]int         // events of an aggregate that are committed
	commits map[numbered]time.Time // when
	arrived map[string]int         // events of an aggregate that the queue accepted, each once
	waits   map[numbered]time.Duration
	repeats int
	pointer string // the body of the last message that points to its event
}

// numbered is an event.
type numbered struct {
	aggregate string
	number    int // 1 is the first one of the aggregate
}

func newLoad() *load {
	return &load{
		written: map[string]int{}, commits: map[numbered]time.Time{},
		arrived: map[string]int{}, waits: map[numbered]time.Duration{},
	}
}

// start writes from now on until stop.
func (l *load) start(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(ctx)
	l.cancel, l.done = cancel, make(chan struct{})
	go func() {
		defer close(l.done)
		defer conn.Close(context.WithoutCancel(ctx))
		l.fail(l.writeSteadily(running, conn))
	}()
	return nil
}

func (l *load) writeSteadily(ctx context.Context, conn *pgx.Conn) error {
	ticker := time.NewTicker(time.Second / perSecond)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		eventType := "order.changed"
		if n%2 == 1 { // and so the aggregate is one of every second
			eventType = billingType
		}
		// A commit that was begun is finished, so that it is known.
		err := l.write(context.WithoutCancel(ctx), conn, fmt.Sprintf("customer-%d", n%aggregates), eventType, 0)
		if err != nil {
			return err
		}
	}
}

// stop ends the writer. A second call does nothing.
func (l *load) stop() {
	if l.cancel != nil {
		l.cancel()
		<-l.done
	}
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// write commits the next events of an aggregate in one transaction, each with a text of this many
// bytes. An aggregate has one writer at a time.
func (l *load) write(ctx context.Context, conn *pgx.Conn, aggregate, eventType string, bytes ...int) error {
	l.mu.Lock()
	first := l.written[aggregate] + 1
	l.mu.Unlock()
	events := make([]outbox.Event, len(bytes))
	for i := range events {
		var err error
		text := strings.Repeat("x", bytes[i])
		if events[i], err = outbox.New("customer", aggregate, eventType, body{first + i, text}); err != nil {
			return err
		}
		events[i].MaxBytes = max(bytes[i]+len(`{"number":0000,"text":""}`), outbox.MaxPayload)
	}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return outbox.Insert(ctx, tx, events...) })
	if err != nil {
		return fmt.Errorf("write events of %s: %w", aggregate, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range events {
		l.commits[numbered{aggregate, first + i}] = time.Now()
	}
	l.written[aggregate] += len(events)
	return nil
}

// accept counts a message that a queue accepted.
func (l *load) accept(_ string, r fakeaws.Receipt) {
	event, err := l.read(r)
	var b body
	if err == nil {
		err = json.Unmarshal(event.Payload, &b)
	}
	if err != nil {
		l.fail(fmt.Errorf("an event arrived changed: %w: %.100s", err, r.Body))
		return
	}
	aggregate := event.AggregateID
	l.mu.Lock()
	defer l.mu.Unlock()
	if string(event.Payload) != r.Body {
		l.pointer = r.Body
	}
	switch last := l.arrived[aggregate]; {
	case b.Number <= last:
		l.repeats++
	case b.Number > last+1 && l.err == nil:
		l.err = fmt.Errorf("event %d of %s arrived before event %d", b.Number, aggregate, last+1)
	default:
		l.arrived[aggregate] = b.Number
		e := numbered{aggregate, b.Number}
		if committed, known := l.commits[e]; known {
			l.waits[e] = time.Since(committed)
		}
	}
}

// read reads a message as a consumer does.
func (l *load) read(r fakeaws.Receipt) (inbox.Event, error) {
	m := inbox.Message{Body: r.Body, Attributes: map[string]string{}}
	for _, a := range r.Attributes {
		m.Attributes[a.Name] = a.StringValue
	}
	m, err := inbox.Resolve(context.Background(), m, func(_ context.Context, bucket, key string) ([]byte, error) {
		return l.object(bucket, key), nil
	})
	if err != nil {
		return inbox.Event{}, err
	}
	return inbox.Decode(m)
}

// body is the payload of an event.
type body struct {
	Number int    `json:"number"`
	Text   string `json:"text,omitempty"`
}

// undelivered is the number of committed events that no queue accepted, of all aggregates for which
// only returns true. A nil only is true for all.
func (l *load) undelivered(only func(aggregate string) bool) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for aggregate, written := range l.written {
		if only == nil || only(aggregate) {
			n += max(0, written-l.arrived[aggregate])
		}
	}
	return n
}

// longestWait is the longest time from commit to acceptance of the events that were committed since
// a moment, of all aggregates but one.
func (l *load) longestWait(since time.Time, except string) (longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e, wait := range l.waits {
		if e.aggregate != except && l.commits[e].After(since) {
			longest = max(longest, wait)
		}
	}
	return longest
}

// lastPointer returns the body of the last message that points to its event.
func (l *load) lastPointer() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pointer
}

// verdict returns the number of events and of repeats, or the first broken promise.
func (l *load) verdict() (total, repeats int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for aggregate, written := range l.written {
		total += written
		if l.arrived[aggregate] > written {
			return 0, 0, fmt.Errorf("%d events of %s arrived, and only %d were written",
				l.arrived[aggregate], aggregate, written)
		}
	}
	return total, l.repeats, l.err
}
