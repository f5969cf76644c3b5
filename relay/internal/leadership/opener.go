package leadership

import (
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/largemessage"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
)

// Opener opens replication connections.
type Opener struct {
	Connect     control.Connect
	Learned     *control.Learned // from the control connections
	Slot        string
	Publication string
	Messages    bool // see [replication.Config.Messages]
	// SenderTimeout is the wal_sender_timeout of the connection. It bounds the opening, too.
	SenderTimeout time.Duration
	Turns         *largemessage.Turns // see [replication.Config.Turns]
}

// Stream opens a connection without starting a stream.
func (o Opener) Stream(ctx context.Context) (*replication.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, o.SenderTimeout)
	defer cancel()
	config, err := o.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := o.Learned.PinVersion(ctx, &config.Config); err != nil {
		return nil, err
	}
	return replication.Open(ctx, replication.Config{
		Connection:    &config.Config,
		Slot:          o.Slot,
		Publication:   o.Publication,
		Messages:      o.Messages,
		SenderTimeout: o.SenderTimeout,
		Turns:         o.Turns,
	})
}
