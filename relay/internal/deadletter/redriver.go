package deadletter

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// lookInterval is the longest pause between two looks for dead letters that an operator redrives. The pause after a
	// find is soonInterval, and doubles with each look that finds nothing new.
	lookInterval, soonInterval = time.Second, 50 * time.Millisecond
	// redriveWindow is how many dead letters of a destination are on their way at the same time.
	redriveWindow = 100
)

// Redriver hands dead letters that an operator redrives to delivery. The command only marks their rows.
type Redriver struct {
	Pool         *pgxpool.Pool
	Table        string                                           // schema.name of the outbox table
	Destinations []string                                         // their ARNs, by the index that Send takes
	Timeout      time.Duration                                    // of one look
	Send         func(destination int, events ...*delivery.Event) // delivery's
	Counted      func(deadLetters int64)                          // takes how many events are parked, once a second

	sent      map[redrive]bool // on their way
	countedAt time.Time
}

// redrive names one request to send a dead letter again. Between two looks the relay may have parked the letter again,
// and the operator may have redriven it again, behind another one that was discarded meanwhile.
type redrive struct {
	position int64
	since    time.Time
}

// Run redrives until ctx ends, and then returns nil. It returns the error of a look that failed.
func (r *Redriver) Run(ctx context.Context) error {
	for pause := lookInterval; ctx.Err() == nil; task.Sleep(ctx, pause) {
		found, err := r.look(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case found:
			pause = soonInterval
		default:
			pause = min(2*pause, lookInterval)
		}
	}
	return nil
}

// look hands on the dead letters that are not on their way yet, and reports whether there were any.
func (r *Redriver) look(ctx context.Context) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	if err := r.count(ctx); err != nil {
		return false, err
	}
	redriving := map[redrive]bool{}
	for i, destination := range r.Destinations {
		letters, err := Redriving(ctx, r.Pool, r.Table, destination, redriveWindow)
		if err != nil {
			return false, err
		}
		for _, letter := range letters {
			key := redrive{letter.Position, letter.RedrivenAt}
			redriving[key] = true
			if !r.sent[key] {
				found = true
				r.Send(i, &delivery.Event{Message: *letter.Message, DeadLetter: &letter})
			}
		}
	}
	r.sent = redriving
	return found, nil
}

// count counts all dead letters, of which there may be millions, once in lookInterval.
func (r *Redriver) count(ctx context.Context) error {
	if time.Since(r.countedAt) < lookInterval {
		return nil
	}
	r.countedAt = time.Now()
	parked, err := Count(ctx, r.Pool)
	if err != nil {
		return err
	}
	r.Counted(parked)
	return nil
}
