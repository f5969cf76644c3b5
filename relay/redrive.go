package relay

import (
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/deadletter"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

const (
	// redriveInterval is how often the relay looks for dead letters that somebody asked to be sent again.
	redriveInterval = time.Second
	// redriveWindow is how many dead letters of a destination are on their way at the same time.
	redriveWindow = 100
)

// redriver hands dead letters that are to be sent again to delivery. The command line only marks rows.
type redriver struct {
	*session
	sent map[redrive]bool // on their way
}

// redrive names one time that a dead letter is to be sent again. Between two looks it may have been parked again and be
// redriven once more, behind another one that somebody gave up.
type redrive struct {
	position int64
	since    time.Time
}

func (s *session) redrive(ctx context.Context) error {
	r := &redriver{session: s, sent: map[redrive]bool{}}
	ticker := time.NewTicker(redriveInterval)
	defer ticker.Stop()
	for {
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (r *redriver) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	parked, err := deadletter.Count(ctx, r.pool)
	if err != nil {
		return err
	}
	r.Metrics.DeadLetters(parked)
	stillToSend := map[redrive]bool{}
	for i, destination := range r.Destinations {
		letters, err := deadletter.Redriving(ctx, r.pool, r.tableName(), destination.Name, redriveWindow)
		if err != nil {
			return err
		}
		for _, letter := range letters {
			key := redrive{letter.Position, letter.Since}
			stillToSend[key] = true
			if !r.sent[key] {
				r.delivery.Send(i, &delivery.Event{Message: letter.Message, Letter: letter.Letter})
			}
		}
	}
	r.sent = stillToSend
	return nil
}
