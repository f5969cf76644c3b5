package members

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/tablereader"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

const (
	// lookInterval is the pause between two looks for partitions that were attached. After an error
	// retryPause is added to it.
	lookInterval, retryPause = time.Second, 5 * time.Second
	// refreshInterval is how often the relay stores that the members which it knows are accounted
	// for. Rows that were written to a member since then come twice if the member is detached and
	// attached again.
	refreshInterval = 15 * time.Second
	// streamInterval is the pause between two looks whether the stream has reached a position.
	streamInterval = 100 * time.Millisecond
	// gateInterval is the pause between two attempts to send an event while a pass is under way.
	gateInterval = 100 * time.Millisecond
)

// Joiner accounts for the rows that entered the outbox table with a partition: the log did not
// bring them.
type Joiner struct {
	Store *Store
	// Reader returns a reader of the rows of a table.
	Reader func(outboxtable.Table) *tablereader.Reader
	// Position is the position in the log up to which everything is delivered.
	Position func() pglogrepl.LSN
	Router   *route.Router
	Gate     Gate
	// Brought has the common seqs that this session has read from the log or from the table. It
	// also has those of the session before, if that ended with an in-place recovery or [ErrNext].
	Brought  Sequences
	Observer Observer
	// Halt ends the session, where the relay is to halt at rows that the log did not bring. nil
	// where it publishes them.
	Halt func(ctx context.Context, rows int64) error
	// Retries takes the error that the Joiner retries, or nil once it works again.
	Retries func(error)
	Log     *slog.Logger

	refreshedAt time.Time
	// safeFrom has, by new member, a position behind which all transactions of its time have ended.
	safeFrom  map[uint32]pglogrepl.LSN
	readAgain map[uint32]time.Time // by new member
	isNext    bool                 // the next session accounts for members
}

// Gate is in front of delivery.
type Gate interface {
	// SendJoined hands over an event, which then arrives or waits in the table. It reports false if
	// neither is possible at the moment.
	SendJoined(destination int, e *delivery.Event) (sent bool)
	// Claimed returns [delivery.Event.Deferral] of a row.
	Claimed(*outbox.Envelope) string
}

// Sequences is a set of seqs. It is safe for use by several goroutines.
type Sequences interface {
	Has(seq int64) bool
	Add(seq int64)
}

// Observer counts, for metrics.
type Observer interface {
	// EventsMissing takes how many rows the log did not bring.
	EventsMissing(rows int64)
	// Recovered counts an event that was read from the table, and its headers that had no room in a
	// message.
	Recovered(droppedHeaders int)
}

// Run accounts for partitions until ctx ends, and then returns nil. It returns the error of Halt,
// [ErrNext], [slot.ErrFenced] once the relay no longer holds the slot, and retries any other: other
// parts of the session find out whether the database can be used. Rows without a seq or an xid can
// neither be told apart nor be retained: Run only waits.
func (j *Joiner) Run(ctx context.Context) error {
	if !j.Store.table.IsRepairable() {
		<-ctx.Done()
		return nil
	}
	j.safeFrom, j.readAgain = map[uint32]pglogrepl.LSN{}, map[uint32]time.Time{}
	for ctx.Err() == nil {
		err := postgres.WithRemedy(j.look(ctx))
		if errors.Is(err, ErrNext) {
			return err
		}
		j.Retries(err)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, checkpoint.ErrEventsMissing), errors.Is(err, slot.ErrFenced):
			return err
		case err != nil:
			j.Log.Warn("partitions: trying again", "err", err)
			task.Sleep(ctx, retryPause)
		}
		task.Sleep(ctx, lookInterval)
	}
	return nil
}

func (j *Joiner) look(ctx context.Context) error {
	if j.isNext {
		return ErrNext
	}
	joined, err := j.Store.Joined(ctx)
	if err != nil {
		return err
	}
	joined = slices.DeleteFunc(joined, j.isReplacement)
	if joined, err = j.noteNew(ctx, joined); err != nil {
		return err
	}
	for _, partition := range joined {
		if err := j.account(ctx, partition); err != nil {
			return err
		}
	}
	if err := j.awaitSafe(ctx, joined); err != nil || time.Since(j.refreshedAt) < refreshInterval {
		return err
	}
	j.refreshedAt = time.Now()
	return j.Store.Refresh(ctx)
}

// isReplacement reports whether a member belongs to a relation that has replaced one of several
// tables since the session began. [Joiner.Brought] has the seqs of the relation before, and the new
// one may have the same. The session is about to end, and the next one accounts for the member.
func (j *Joiner) isReplacement(member Joined) bool {
	streamed, found := j.Store.table.Named(member.root)
	return found && j.Store.table.IsSeveral() && streamed.Relation != member.rootRelation
}

// account publishes the rows of a partition that the log did not bring. A partition that is created
// as one is empty.
func (j *Joiner) account(ctx context.Context, partition Joined) error {
	if !j.writersEnded(partition) || partition.isRead() && j.mayMiss(partition) && j.wasReadNow(partition) {
		return nil
	}
	began := time.Now()
	empty, err := j.Store.IsEmpty(ctx, partition)
	if err != nil {
		return err
	}
	if !empty {
		// relay status shows it from now on
		if err := j.Store.Passed(ctx, partition, partition.After()); err != nil {
			return err
		}
		if err := j.awaitStream(ctx, partition); err != nil {
			return err
		}
		if err := j.publish(ctx, partition); err != nil {
			return err
		}
	}
	if j.mayMiss(partition) {
		j.readAgain[partition.Relation] = readAgainAt(began, time.Now())
		return j.Store.noteRead(ctx, partition)
	}
	if err := j.Store.Account(ctx, partition); err != nil {
		return err
	}
	j.Log.Debug("partition is accounted for", "partition", partition.String())
	return nil
}

// awaitStream waits until the stream has brought everything that had committed when the partition
// was found.
func (j *Joiner) awaitStream(ctx context.Context, partition Joined) error {
	for j.Position() < partition.InsertLSN {
		if task.Sleep(ctx, streamInterval); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
