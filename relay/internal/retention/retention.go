// Package retention removes from the relay's tables what is delivered and older than a setting, a little at a time.
package retention

import (
	"context"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// batchRows is how many rows one statement looks at: it is done in about ten milliseconds and locks nothing that a writer
	// needs.
	batchRows = 1000
	// share is how much longer removing rests than it worked: it takes a quarter of one connection's time at most.
	share = 3
	// longestPause bounds that rest, so that a thousand rows a second are removed also where a batch takes half a second.
	longestPause = 500 * time.Millisecond
	// idleMin and idleMax bound the pause once there is nothing more to remove. It doubles while that stays so.
	idleMin, idleMax = time.Second, time.Minute
	// passInterval is how often the table is looked at from its beginning: rows of a transaction that committed late, or of
	// events that were parked, are passed by at first. In between, it begins behind what was removed last, as an index keeps an entry for each row
	// that was removed until a vacuum.
	passInterval = time.Hour
	// statementTimeout bounds one batch.
	statementTimeout = time.Minute
)

// Observer is told what was removed.
type Observer interface {
	RowsRemoved(rows int64)
	DeadLettersRemoved(deadLetters int64)
}

// Retention removes while it runs.
type Retention struct {
	Remover  *Remover
	Age      time.Duration
	Observer Observer
	Log      *slog.Logger
	// Behind reports whether delivery is behind: then removing waits, as it would add to the log that the slot keeps.
	Behind func() bool

	after   int64     // seq behind which the next batch begins
	began   time.Time // of the last look from the table's beginning
	idle    time.Duration
	removed int64  // since it was last said
	kept    string // what was last said about rows that have to stay
}

// Run removes until ctx ends. A batch that fails is tried again: whether the database can be used is for others to find out.
func (r *Retention) Run(ctx context.Context) error {
	for pause := time.Duration(0); task.Sleep(ctx, pause); {
		if r.Behind() {
			pause = idleMin
			continue
		}
		began := time.Now()
		full, err := r.step(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			r.Log.Warn("retention: trying again", "err", err)
			pause = idleMax
		case full:
			pause = min(share*time.Since(began), longestPause)
		default:
			pause = r.idle
		}
	}
	return nil
}

// step removes one batch, and reports whether there may be more to remove at once.
func (r *Retention) step(ctx context.Context) (full bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if time.Since(r.began) >= min(passInterval, r.Age) {
		if err := r.beginPass(ctx); err != nil {
			return false, err
		}
	}
	batch, err := r.Remover.Rows(ctx, r.after, batchRows)
	if err != nil {
		return false, err
	}
	r.Observer.RowsRemoved(batch.Removed)
	r.after = batch.Last
	r.removed += batch.Removed
	r.tell(batch)
	r.idle = min(2*r.idle, idleMax)
	if batch.Removed > 0 {
		r.idle = idleMin
	}
	return batch.Full, nil
}

// beginPass goes back to the table's beginning, and does what is due once a pass.
func (r *Retention) beginPass(ctx context.Context) error {
	r.after, r.began, r.idle = math.MinInt64, time.Now(), idleMin
	for {
		removed, err := r.Remover.DeadLetters(ctx, batchRows)
		if err != nil {
			return err
		}
		if removed > 0 {
			r.Observer.DeadLettersRemoved(removed)
			r.Log.Info("retention: removed closed dead letters", "rows", removed)
		}
		if removed < batchRows {
			return nil
		}
	}
}

// tell logs what was removed, once everything is that may go, and for which slots rows have to stay.
func (r *Retention) tell(b Batch) {
	if !b.Full && r.removed > 0 {
		r.Log.Debug("retention: removed delivered rows", "rows", r.removed, "up_to_seq", b.Last)
		r.removed = 0
	}
	kept := strings.Join(b.Kept, ", ")
	if kept != "" && kept != r.kept {
		r.Log.Warn("retention: rows that should be gone have to stay until these slots have delivered them; of another relay's slot that "+
			"nobody uses any more, delete the row in relay_checkpoints", "slots", kept)
	}
	r.kept = kept
}
