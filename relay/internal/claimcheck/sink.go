package claimcheck

import (
	"context"
	"slices"
	"sync"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// maxBody is the longest body that the readers of pointers accept.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-managing-large-messages.html
const maxBody = 2 << 30

// Sink is a sink that accepts messages beyond the limit of its destination: [Sink.Prepare] stores
// their bodies.
type Sink struct {
	sink.Sink
	store *Store
}

// Wrap returns a destination that takes large messages.
func Wrap(s sink.Sink, store *Store) *Sink { return &Sink{s, store} }

// Open opens the destination if that is necessary.
func (s *Sink) Open(ctx context.Context) error {
	if lazy, ok := s.Sink.(interface{ Open(context.Context) error }); ok {
		return lazy.Open(ctx)
	}
	return nil
}

// Limits implements [sink.Sink]. The batch has the limit of the destination, so that a message
// which exceeds it is alone in its request. The bodies of a batch are in memory anyway, and an
// upload copies none.
func (s *Sink) Limits() sink.Limits {
	limits := s.Sink.Limits()
	limits.MaxMessageBytes = maxBody
	return limits
}

// Room returns the size that m may have so that its message fits the destination. Headers have to
// leave room for the rest. The body stays in the message if it fits with the relay's own
// attributes, so no header depends on the bucket. Otherwise the pointer replaces it.
func (s *Sink) Room(m *sink.Message) int {
	limit := s.Sink.Limits().MaxMessageBytes
	inline := sink.Message{Body: m.Body, Attributes: m.Attributes[:m.Own]}
	if inline.Size() <= limit {
		return limit
	}
	return limit + len(m.Body) - s.store.sizeOfPointer(m)
}

// Prepare returns the messages to publish in place of batch: those that are too long for the
// destination are stored first, all at the same time, and the message points to them. An upload
// that fails concerns its message alone: failed is nil, or has an error for each such message. The
// caller asks afterwards whether it may still publish, because an upload takes long.
func (s *Sink) Prepare(ctx context.Context, batch []*sink.Message) (prepared []*sink.Message, failed []error) {
	limits := s.Sink.Limits()
	isLarge := func(m *sink.Message) bool { return m.Size() > limits.MaxMessageBytes }
	if !slices.ContainsFunc(batch, isLarge) {
		return batch, nil
	}
	prepared, failed = slices.Clone(batch), make([]error, len(batch))
	var uploads sync.WaitGroup
	for i, m := range batch {
		if isLarge(m) {
			uploads.Go(func() { prepared[i], failed[i] = s.store.Offload(ctx, m) })
		}
	}
	uploads.Wait()
	if !slices.ContainsFunc(failed, func(err error) bool { return err != nil }) {
		return prepared, nil
	}
	return prepared, failed
}
