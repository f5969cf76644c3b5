// Package retention removes delivered rows and closed dead letters that are older than a setting,
// in small batches.
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
	// batchRows is how many rows one statement reads. That takes about ten milliseconds and locks
	// nothing that a writer needs.
	batchRows = 1000
	// share is the ratio of pause to work: removing uses a quarter of one connection's time at
	// most.
	share = 3
	// longestPause bounds that pause, so that a thousand rows a second are removed also if a batch
	// takes half a second.
	longestPause = 500 * time.Millisecond
	// idleMin and idleMax bound the pause once nothing is left to remove. It doubles until there
	// are new rows.
	idleMin, idleMax = time.Second, time.Minute
	// passInterval is how often removing begins at the start of the table again. Rows of a
	// transaction that committed late, and of parked events, are skipped at first. In between it
	// begins after the last removed row, because an index keeps an entry for each removed row until
	// a vacuum.
	passInterval = time.Hour
	// statementTimeout bounds one batch.
	statementTimeout = time.Minute
)

// Observer counts removed rows.
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
	// Behind reports whether delivery is behind. Removing then waits, because it adds to the log
	// that the slot keeps.
	Behind func() bool

	after   int64     // the next batch begins after this seq
	began   time.Time // when the last pass began
	idle    time.Duration
	removed int64  // since the last log line
	kept    string // as last logged about rows that have to stay
}

// Run removes until ctx ends.
func (r *Retention) Run(ctx context.Context) error { return RunAll(ctx, []*Retention{r}) }

// RunAll removes rows of several tables until ctx ends, one statement after the other.
func RunAll(ctx context.Context, all []*Retention) error {
	due := make([]time.Time, len(all))
	for len(all) > 0 {
		next := 0
		for i := range due {
			if due[i].Before(due[next]) {
				next = i
			}
		}
		if !task.Sleep(ctx, time.Until(due[next])) {
			return nil
		}
		pause, rest := all[next].turn(ctx)
		due[next] = time.Now().Add(pause)
		if !task.Sleep(ctx, rest) {
			return nil
		}
	}
	<-ctx.Done()
	return nil
}

// turn removes one batch. It returns the pause until the next one, and how long no table may have a
// turn. It retries a failed batch, because other parts of the session check the database.
func (r *Retention) turn(ctx context.Context) (pause, rest time.Duration) {
	if r.Behind() {
		return idleMin, 0
	}
	began := time.Now()
	full, err := r.step(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		r.Log.Warn("retention: trying again", "err", err)
		return idleMax, 0
	case full:
		return 0, min(share*time.Since(began), longestPause)
	}
	return r.idle, 0
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
	r.logBatch(batch)
	r.idle = min(2*r.idle, idleMax)
	if batch.Removed > 0 {
		r.idle = idleMin
	}
	return batch.Full, nil
}

// beginPass returns to the start of the table, and runs the tasks of each pass.
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

// logBatch logs the number of removed rows, once all that may be removed are, and the slots that
// keep rows.
func (r *Retention) logBatch(b Batch) {
	if !b.Full && r.removed > 0 {
		r.Log.Debug("retention: removed delivered rows", "rows", r.removed, "up_to_seq", b.Last)
		r.removed = 0
	}
	kept := strings.Join(b.Kept, ", ")
	if kept != "" && kept != r.kept {
		r.Log.Warn("retention: rows older than RELAY_RETENTION have to stay until these slots have delivered them. "+
			"If no relay uses a slot any more, delete its row in relay_checkpoints", "slots", kept)
	}
	r.kept = kept
}
