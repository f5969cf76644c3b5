package deadletter

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// lookInterval is the longest pause between two queries for dead letters that an operator
	// redrives. The pause after a result is soonInterval, and doubles with each query that finds
	// nothing new.
	lookInterval, soonInterval = time.Second, 50 * time.Millisecond
	// redriveWindow is how many dead letters of a destination are redriven at the same time.
	redriveWindow = 100
	// countShare bounds the time for counting dead letters to this fraction of the time.
	countShare = 50
)

// Redriver hands the dead letters that an operator redrives to delivery. The command only marks
// their rows.
type Redriver struct {
	Pool         *pgxpool.Pool
	Slot         string
	Table        string                                           // schema.name of the outbox table
	Destinations []string                                         // their ARNs, by the index that Send takes
	Timeout      time.Duration                                    // for one query
	Send         func(destination int, events ...*delivery.Event) // delivery's
	// RefuseMoved is that of the Store.
	RefuseMoved func(ctx context.Context, destinations []string) error
	// called with the number of open dead letters of the slot, once a second or less often
	Counted func(deadLetters int64)

	sent    map[redrive]int64 // handed to delivery, with the bytes of their events
	countAt time.Time         // of the next count
}

// Run redrives until ctx ends, and then returns nil. It returns the error of a failed query.
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

// look sends the new dead letters to redrive, and reports whether there were any.
func (r *Redriver) look(ctx context.Context) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	if err := r.count(ctx); err != nil {
		return false, err
	}
	sent := map[redrive]int64{}
	for i, destination := range r.Destinations {
		requests, err := r.requests(ctx, destination)
		if err != nil {
			return false, err
		}
		for _, request := range requests {
			sent[request.redrive] = request.bytes
			if request.letter != nil {
				found = true
				r.Send(i, redrivenEvent(request.letter))
			}
		}
	}
	r.sent = sent
	return found, nil
}

// redrivenEvent returns the event of a dead letter. One that has only some columns of its row is
// parked again, because no consumer can use it.
func redrivenEvent(letter *delivery.DeadLetter) *delivery.Event {
	event := &delivery.Event{Message: *letter.Message, DeadLetter: letter}
	if letter.Code == delivery.CodeIncomplete {
		event.MarkUnusable(letter.Code, letter.Reason)
	}
	return event
}

// count refuses redrives to destinations that no setting names, and counts the dead letters of the
// slot, once in lookInterval. There may be millions, so a count that takes long is followed by a
// pause that is countShare times as long.
func (r *Redriver) count(ctx context.Context) error {
	began := time.Now()
	if began.Before(r.countAt) {
		return nil
	}
	if err := r.RefuseMoved(ctx, r.Destinations); err != nil {
		return err
	}
	open, err := Count(ctx, r.Pool, r.Slot)
	if err != nil {
		return err
	}
	r.countAt = began.Add(max(lookInterval, countShare*time.Since(began)))
	r.Counted(open)
	return nil
}
