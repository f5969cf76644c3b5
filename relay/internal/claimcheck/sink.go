package claimcheck

import (
	"context"

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
// which exceeds it is alone in its request.
func (s *Sink) Limits() sink.Limits {
	limits := s.Sink.Limits()
	limits.MaxMessageBytes = maxBody
	return limits
}

// Prepare returns the messages to publish in place of batch: those that are too long for the
// destination are stored first, and the message points to them. The caller asks afterwards whether
// it may still publish, because an upload takes long.
func (s *Sink) Prepare(ctx context.Context, batch []*sink.Message) ([]*sink.Message, error) {
	limits := s.Sink.Limits()
	var prepared []*sink.Message
	for i, m := range batch {
		if m.Size() <= limits.MaxMessageBytes {
			continue
		}
		pointing, err := s.store.Offload(ctx, m)
		if err != nil {
			return nil, err
		}
		if prepared == nil {
			prepared = append(prepared, batch...)
		}
		prepared[i] = pointing
	}
	if prepared == nil {
		return batch, nil
	}
	return prepared, nil
}
