package relay

import (
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/deadletter"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

const (
	// redriveInterval is how often the relay looks for dead letters that somebody asked to be sent again, at least, and counts all
	// that there are. After it has sent some, it looks again after redriveSoon, and twice as long each time that it finds nothing new.
	redriveInterval, redriveSoon = time.Second, 50 * time.Millisecond
	// redriveWindow is how many dead letters of a destination are on their way at the same time.
	redriveWindow = 100
)

// redriver hands dead letters that are to be sent again to delivery. The command line only marks rows.
type redriver struct {
	*session
	sent    map[redrive]bool // on their way
	counted time.Time        // when all dead letters were
}

// redrive names one time that a dead letter is to be sent again. Between two looks it may have been parked again and be
// redriven once more, behind another one that somebody gave up.
type redrive struct {
	position int64
	since    time.Time
}

func (s *session) redrive(ctx context.Context) error {
	r := &redriver{session: s, sent: map[redrive]bool{}}
	for pause := redriveInterval; ctx.Err() == nil; sleep(ctx, pause) {
		found, err := r.look(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case found:
			pause = redriveSoon
		default:
			pause = min(2*pause, redriveInterval)
		}
	}
	return nil
}

// look sends what is to be sent again, and reports whether there was anything new.
func (r *redriver) look(ctx context.Context) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	if err := r.count(ctx); err != nil {
		return false, err
	}
	stillToSend := map[redrive]bool{}
	for i, destination := range r.Destinations {
		letters, err := deadletter.Redriving(ctx, r.pool, r.tableName(), destination.Name, redriveWindow)
		if err != nil {
			return false, err
		}
		for _, letter := range letters {
			key := redrive{letter.Position, letter.Since}
			stillToSend[key] = true
			if !r.sent[key] {
				found = true
				r.delivery.Send(i, &delivery.Event{Message: letter.Message, Letter: letter.Letter})
			}
		}
	}
	r.sent = stillToSend
	return found, nil
}

// count tells how many dead letters there are, of which there may be millions: no more often than needed.
func (r *redriver) count(ctx context.Context) error {
	if time.Since(r.counted) < redriveInterval {
		return nil
	}
	r.counted = time.Now()
	parked, err := deadletter.Count(ctx, r.pool)
	if err != nil {
		return err
	}
	r.Metrics.DeadLetters(parked)
	return nil
}
