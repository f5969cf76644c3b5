package fakeaws

import (
	"context"
	"fmt"
	"sync"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/queue"
)

// Message is a message as a destination accepted it.
type Message = queue.Message

// Attribute is one attribute of a [Message].
type Attribute = queue.Attribute

// Receipt is one acceptance. A destination accepts a repeated deduplication id too, but delivers it
// once.
type Receipt struct {
	*Message
	Duplicate bool
}

// journal holds the messages that a destination accepted, in order.
type journal struct {
	mu       sync.Mutex
	retain   int           // 0: all
	tell     func(Receipt) // may be nil
	receipts []Receipt
	total    int           // including duplicates
	changed  chan struct{} // closed when total changes; nil while nothing waits for it
}

// tell returns the callback for messages that arn accepts, or nil.
func (s *Server) tell(arn string) func(Receipt) {
	if s.options.Accepted == nil {
		return nil
	}
	return func(r Receipt) { s.options.Accepted(arn, r) }
}

func (j *journal) add(m *Message, duplicate bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.retain > 0 && len(j.receipts) >= j.retain {
		j.receipts[0] = Receipt{}
		j.receipts = j.receipts[1:]
	}
	r := Receipt{m, duplicate}
	j.receipts = append(j.receipts, r)
	j.total++
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
	if j.tell != nil {
		j.tell(r)
	}
}

func (j *journal) copy() []Receipt {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Receipt(nil), j.receipts...)
}

// count returns the number of accepted messages, and a channel that is closed when the number
// changes.
func (j *journal) count() (total int, changed <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return j.total, j.changed
}

// Received returns the messages that the queue, topic or bus arn accepted, in order, whether they
// were consumed or not. The messages are shared: do not change them.
func (s *Server) Received(arn string) []Receipt {
	if j := s.journal(arn); j != nil {
		return j.copy()
	}
	return nil
}

// ReceivedCount returns the number of messages that the queue, topic or bus arn has accepted,
// including duplicates.
func (s *Server) ReceivedCount(arn string) int {
	j := s.journal(arn)
	if j == nil {
		return 0
	}
	total, _ := j.count()
	return total
}

// AwaitReceived returns when the queue, topic or bus arn has accepted n messages, including
// duplicates, or when ctx is done.
func (s *Server) AwaitReceived(ctx context.Context, arn string, n int) error {
	j := s.journal(arn)
	if j == nil {
		return fmt.Errorf("await messages: there is no %s", arn)
	}
	for {
		total, changed := j.count()
		if total >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("await %d messages at %s, where %d arrived: %w", n, arn, total, ctx.Err())
		}
	}
}

func (s *Server) journal(arn string) *journal {
	if q := s.queueByARN(arn); q != nil {
		return &q.journal
	}
	if t := s.topicByARN(arn); t != nil {
		return &t.journal
	}
	if b := s.busByARN(arn); b != nil {
		return &b.journal
	}
	return nil
}
