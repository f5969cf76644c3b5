package members

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
)

// noteNew stores the members of new tables together, before the first of them is accounted for. The
// returned members have the stored transaction id.
func (j *Joiner) noteNew(ctx context.Context, joined []Joined) ([]Joined, error) {
	relations, attached, names := []uint32{}, []string{}, []string{}
	for i := range joined {
		member := &joined[i]
		if !j.isNewTable(*member) || member.newUntil != 0 {
			continue
		}
		snapshot, err := pgsnapshot.Parse(member.Snapshot)
		if err != nil {
			return nil, j.Store.failed("look for partitions", err)
		}
		member.newUntil = snapshot.Next()
		relations, attached = append(relations, member.Relation), append(attached, member.Attached)
		if !snapshot.IsPast(member.newUntil) {
			names = append(names, member.String())
		}
	}
	if len(relations) == 0 {
		return joined, nil
	}
	if err := j.Store.noteNew(ctx, relations, attached, joined[0].Snapshot); err != nil {
		return nil, err
	}
	if len(names) > 0 {
		j.Log.Info("the rows that new tables had before the publication streamed them follow once the transactions of "+
			"that time have ended", "event", "table_waits", "tables", names)
	}
	return joined, nil
}

// noteNew stores new members, of which each has the same snapshot.
func (s *Store) noteNew(ctx context.Context, relations []uint32, attached []string, snapshot string) error {
	return s.change(ctx, "note the new tables", `
		INSERT INTO relay_members AS k (slot_name, relation, system_identifier, attached, accounted, new_until)
		SELECT c.slot_name, m.relation, c.system_identifier, m.attached, false, pg_snapshot_xmax($6::pg_snapshot)
		FROM relay_checkpoints c, unnest($4::oid[], $5::text[]) AS m (relation, attached) WHERE {fence}
		ON CONFLICT (slot_name, relation) DO UPDATE SET system_identifier = excluded.system_identifier,
			attached = excluded.attached, accounted = false, passed_seq = NULL, new_until = excluded.new_until,
			known = CASE WHEN k.system_identifier = excluded.system_identifier THEN k.known END,
			requested = false, updated_at = clock_timestamp()`, relations, attached, snapshot)
}

// writersEnded reports whether every transaction that ran when a new table of several was found has
// ended. Such a transaction may have written to the table before the publication had it, and the
// log has no such rows. No transaction runs over the attachment of a partition.
func (j *Joiner) writersEnded(table Joined) bool {
	if !j.isNewTable(table) {
		return true
	}
	snapshot, err := pgsnapshot.Parse(table.Snapshot)
	return err == nil && snapshot.IsPast(table.newUntil)
}

func (j *Joiner) isNewTable(member Joined) bool { return member.isNew && j.Store.table.IsSeveral() }

// If a table is added while a server creates a slot, the server decodes with the catalog of before.
// So does every walsender that decodes from there: it misses rows of the new table. A walsender
// that decodes from a position at which all transactions of that time have ended misses none. So a
// session accounts for a new table only if its walsender began behind such a position.

// streamedSafely is the new_until of a member that a walsender from now on streams. It is the first
// transaction id.
const streamedSafely = 3

// readInterval is the pause between two readings of a new table whose rows may not be streamed. It
// is longer than most such tables need until they are. A reading takes a tenth of the time at most.
const readInterval = 30 * time.Second

// readAgainAt returns when a new table is read again that was read since then.
func readAgainAt(began, ended time.Time) time.Time {
	return ended.Add(max(readInterval, 10*ended.Sub(began)))
}

// ErrNext means that new tables can be accounted for once another walsender streams them.
var ErrNext = errors.New("the next session accounts for new tables")

// isRead reports whether the rows of a new table of the time of Known are published.
func (j Joined) isRead() bool { return j.PassedSeq != nil && *j.PassedSeq == math.MaxInt64 }

// mayMiss reports whether the walsender of this session may omit rows of a member.
func (j *Joiner) mayMiss(member Joined) bool {
	return j.isNewTable(member) && member.newUntil != streamedSafely
}

// wasReadNow reports whether a new table was read so recently that it is not read again: its rows
// may not be streamed for as long as an old transaction is open.
func (j *Joiner) wasReadNow(member Joined) bool {
	again, known := j.readAgain[member.Relation]
	if !known { // by an earlier session
		again = time.Now().Add(readInterval)
		j.readAgain[member.Relation] = again
	}
	return time.Now().Before(again)
}

// awaitSafe returns [ErrNext] once a walsender that begins streams every row of further members.
func (j *Joiner) awaitSafe(ctx context.Context, joined []Joined) error {
	var safe []uint32
	for _, member := range joined {
		if !j.mayMiss(member) || !member.isRead() {
			continue
		}
		if _, known := j.safeFrom[member.Relation]; !known {
			j.safeFrom[member.Relation] = member.InsertLSN // its transactions have ended
		}
		if member.restartLSN >= j.safeFrom[member.Relation] {
			safe = append(safe, member.Relation)
		}
	}
	if len(safe) == 0 {
		return nil
	}
	j.isNext = true // also if only the answer to the write is lost: this walsender may omit their rows
	if err := j.Store.noteSafe(ctx, safe); err != nil {
		return err
	}
	return ErrNext
}

// Waiting returns the new tables, as schema.name, whose rows wait for transactions of the time at
// which a relay found them, and for more than ten seconds.
func Waiting(ctx context.Context, pool *pgxpool.Pool, slotName string) ([]string, error) {
	waiting, err := unaccounted(ctx, pool, slotName, `new_until IS NOT NULL AND passed_seq IS NULL
		AND updated_at < clock_timestamp() - interval '10 seconds'`)
	if err != nil {
		return nil, fmt.Errorf("look for new tables of slot %s: %w", slotName, err)
	}
	return waiting, nil
}
