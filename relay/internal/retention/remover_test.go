package retention

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestOldDeliveredRowsAreRemovedInOrder(t *testing.T) {
	t.Parallel()
	r := newFixture(t)
	r.write(25, 2*time.Hour)
	r.write(5, time.Minute)
	r.deliver()
	after := int64(math.MinInt64)
	for i, want := range []Batch{
		{Removed: 10, Last: 10, Full: true},
		{Removed: 10, Last: 20, Full: true},
		{Removed: 5, Last: 25},
		{Removed: 0, Last: 25},
	} {
		got := r.remove(after, 10)
		if got.Removed != want.Removed || got.Last != want.Last || got.Full != want.Full || len(got.Kept) > 0 {
			t.Errorf("batch %d: %+v, want %+v", i+1, got, want)
		}
		after = got.Last
	}
	if left := r.left(); left != 5 {
		t.Errorf("%d rows are left, want the 5 young ones", left)
	}
}

func TestARowThatMayNotHaveBeenDeliveredStays(t *testing.T) {
	t.Parallel()
	second := `INSERT INTO relay_checkpoints (slot_name, outbox_table, epoch, system_identifier, horizon, recover_from)
		SELECT 'second', outbox_table, 1, system_identifier, %s, %s FROM relay_checkpoints`
	for name, c := range map[string]struct{ sql, reason string }{
		"nothing is known to be delivered": {
			`UPDATE relay_checkpoints SET horizon = NULL`,
			"(this relay's) has not delivered",
		},
		"the horizon is before it": {
			`UPDATE relay_checkpoints SET horizon = '3:3:'`,
			"(this relay's) has not delivered",
		},
		"its transaction was open at the horizon": {`UPDATE relay_checkpoints
			SET horizon = (
				SELECT (min(xid)::text || ':' || pg_snapshot_xmax(horizon) || ':' || min(xid)::text)::pg_snapshot
				FROM outbox_events)`, "(this relay's) has not delivered"},
		"its transaction is unknown": {`ALTER TABLE outbox_events ALTER xid DROP NOT NULL;
			UPDATE outbox_events SET xid = NULL`, "(this relay's) has not delivered"},
		"a recovery is under way": {
			`UPDATE relay_checkpoints SET recover_from = horizon`,
			"publishes from the table",
		},
		"the checkpoint is another cluster's": {
			`UPDATE relay_checkpoints SET system_identifier = '1'`,
			"belongs to another cluster",
		},
		"another slot lags":          {fmt.Sprintf(second, `'3:3:'`, `NULL`), "second has not delivered"},
		"another slot has not begun": {fmt.Sprintf(second, `NULL`, `NULL`), "second has not delivered"},
		"another slot recovers": {
			fmt.Sprintf(second, `horizon`, `'3:3:'`),
			"second publishes from the table",
		},
		"another slot is of another cluster": {fmt.Sprintf(second, `horizon`, `NULL`) +
			`; UPDATE relay_checkpoints SET system_identifier = '1' WHERE slot_name = 'second'`, "second belongs"},
		"its horizon lags by a moment": {`UPDATE relay_checkpoints SET horizon = '3:3:';
			UPDATE outbox_events SET created_at = now() - interval '60 minutes 30 seconds'`, ""},
		"another relay has raised the epoch": {`UPDATE relay_checkpoints SET epoch = epoch + 1`, ""},
		"the checkpoint is another table's":  {`UPDATE relay_checkpoints SET outbox_table = 'public.events'`, ""},
		"the checkpoint is gone":             {`DELETE FROM relay_checkpoints`, ""},
		"the age is unknown": {`ALTER TABLE outbox_events ALTER created_at DROP NOT NULL;
			UPDATE outbox_events SET created_at = NULL`, ""},
		"it is not old enough": {`UPDATE outbox_events
			SET created_at = now() - interval '59 minutes'`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newFixture(t)
			r.write(1, 2*time.Hour)
			r.deliver()
			conn, err := r.pool.Acquire(t.Context())
			r.must(err)
			_, err = conn.Conn().PgConn().Exec(t.Context(), c.sql).ReadAll()
			r.must(err)
			conn.Release()
			batch := r.remove(math.MinInt64, 10)
			if r.left() != 1 || batch.Removed != 0 {
				t.Errorf("the row was removed: %+v", batch)
			}
			if kept := strings.Join(batch.Kept, ", "); c.reason == "" && kept != "" ||
				!strings.Contains(kept, c.reason) {
				t.Errorf("kept for %q, want %q", kept, c.reason)
			}
		})
	}
}

func TestRowsOfAnOpenTransactionStay(t *testing.T) {
	t.Parallel()
	r := newFixture(t)
	open, err := r.pool.Begin(t.Context())
	r.must(err)
	defer open.Rollback(t.Context()) //nolint:errcheck // after Commit it has nothing to do
	for range 2 {                    // seq 1 and 3 are open at the horizon, 2 and 4 are not, 5 is written after it
		_, err = open.Exec(
			t.Context(),
			`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, created_at)
			VALUES (gen_random_uuid(), 'order', '1', 'order.created', '{}', now() - interval '2 hours')`,
		)
		r.must(err)
		r.write(1, 2*time.Hour)
	}
	r.deliver()
	r.write(1, 2*time.Hour)
	r.must(open.Commit(t.Context()))
	if b := r.remove(math.MinInt64, 5); b.Removed != 2 || b.Last != 4 || b.Full || r.left() != 3 {
		t.Errorf("%+v, %d rows left: only 2 and 4 should have been removed", b, r.left())
	}
	r.deliver()
	if b := r.remove(math.MinInt64, 5); b.Removed != 3 || r.left() != 0 {
		t.Errorf("%+v", b)
	}
}

func TestARelayThatLostTheSlotRemovesNothing(t *testing.T) {
	t.Parallel()
	r := newFixture(t)
	r.write(10, 2*time.Hour)
	r.exec(
		`INSERT INTO outbox_dead_letters (event_id, outbox_table, destination, message_group, blocks_group, code,
			reason, attempts, event, state, updated_at)
		VALUES ('1', 'public.outbox_events', 'd', 'g', true, 'c', 'r', 1, '{}', 'redriven', '2001-01-01')`,
	)
	r.deliver()
	r.stream.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var active bool
		r.must(
			r.pool.QueryRow(
				t.Context(),
				`SELECT active FROM pg_replication_slots WHERE slot_name = $1`,
				r.slot,
			).Scan(&active),
		)
		if !active {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the slot is still held")
		}
	}
	if batch := r.remove(math.MinInt64, 10); batch.Removed != 0 || r.left() != 10 {
		t.Errorf("%+v", batch)
	}
	if removed, err := r.remover.DeadLetters(t.Context(), 10); removed != 0 || err != nil {
		t.Errorf("removed %d dead letters, %v", removed, err)
	}
}

func TestARowWhoseEventIsParkedStaysUntilThatIsDecided(t *testing.T) {
	t.Parallel()
	r := newFixture(t)
	r.write(4, 2*time.Hour)
	r.deliver()
	r.exec(
		`INSERT INTO outbox_dead_letters (event_id, outbox_table, destination, message_group, blocks_group, code,
			reason, attempts, event, state)
		SELECT id::text, 'public.outbox_events', 'd', 'g', true, 'c', 'r', 1, '{}', (ARRAY['parked', 'redriving',
			'redriven', 'discarded'])[seq]
		FROM outbox_events`,
	)
	if b := r.remove(math.MinInt64, 4); b.Removed != 2 || b.Last != 4 || !b.Full || r.left() != 2 {
		t.Errorf("%+v: the rows of the two that are parked or being redriven should be left, and passed by", b)
	}
	r.exec(`UPDATE outbox_dead_letters SET state = 'discarded'`)
	if b := r.remove(math.MinInt64, 4); b.Removed != 2 || r.left() != 0 {
		t.Errorf("%+v", b)
	}
}

func TestOnlyDeadLettersThatAreClosedAndOldAreRemoved(t *testing.T) {
	t.Parallel()
	r := newFixture(t)
	r.exec(
		`INSERT INTO outbox_dead_letters (event_id, outbox_table, destination, message_group, blocks_group, code,
			reason, attempts, event, state, updated_at)
		SELECT concat_ws(' ', state, age, tab), tab, 'd', 'g', true, 'c', 'r', 1, '{}', state, now() - age::interval
		FROM unnest(ARRAY['parked', 'redriving', 'redriven', 'discarded']) AS state, unnest(ARRAY['2 hours',
			'1 minute']) AS age,
			unnest(ARRAY['public.outbox_events', 'public.other']) AS tab`,
	)
	for _, want := range []int64{1, 1, 0} {
		if removed, err := r.remover.DeadLetters(t.Context(), 1); removed != want || err != nil {
			t.Errorf("removed %d, %v, want %d", removed, err, want)
		}
	}
	var gone int
	r.must(r.pool.QueryRow(t.Context(), `SELECT 2 - count(*) FROM outbox_dead_letters
		WHERE event_id IN ('redriven 2 hours public.outbox_events',
			'discarded 2 hours public.outbox_events')`).Scan(&gone))
	if gone != 2 {
		t.Errorf("%d of the two that are closed and old are gone", gone)
	}
}

// A pass would send the event of a discarded or redriven dead letter again.
func TestClosedDeadLettersOutliveTheDeferral(t *testing.T) {
	t.Parallel()
	r := newFixture(t)
	r.exec(`INSERT INTO outbox_dead_letters (event_id, outbox_table, destination, message_group, blocks_group, code,
			reason, attempts, event, state, updated_at, slot_name)
		SELECT c.slot_name || state, 'public.outbox_events', 'd', 'g', true, 'c', 'r', 1, '{}', state,
			now() - interval '2 hours', c.slot_name
		FROM relay_checkpoints c, unnest(ARRAY['redriven', 'discarded']) AS state`)
	r.exec(`INSERT INTO outbox_deferrals (slot_name, outbox_table, destination, system_identifier, known, from_seq,
			routes, state, reason, aggregate_type, aggregate_id)
		SELECT slot_name, 'public.outbox_events', 'd', system_identifier, '3:3:', 1, '{}', 'deferred', 'r', 'order', '1'
		FROM relay_checkpoints`)
	for _, c := range []struct {
		state string
		want  int64
	}{{"deferred", 0}, {"joined", 2}} {
		r.exec(`UPDATE outbox_deferrals SET state = $1`, c.state)
		if removed, err := r.remover.DeadLetters(t.Context(), 10); removed != c.want || err != nil {
			t.Errorf("%s: removed %d, %v, want %d", c.state, removed, err, c.want)
		}
	}
}

// TestABatchReadsTheIndexAndNotTheTable: a batch of a large table costs as much as its rows, with
// fresh statistics and without any, and with a custom and a generic plan.
func TestABatchReadsTheIndexAndNotTheTable(t *testing.T) {
	t.Parallel()
	r := newFixture(t)
	r.write(50_000, 2*time.Hour)
	r.deliver()
	conn, err := r.pool.Acquire(t.Context())
	r.must(err)
	defer conn.Release()
	for _, analyzed := range []bool{false, true} {
		if analyzed {
			r.exec(`VACUUM ANALYZE outbox_events`)
		}
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			_, err = conn.Exec(t.Context(), `SET plan_cache_mode = `+mode)
			r.must(err)
			rows, err := conn.Query(
				t.Context(),
				`EXPLAIN `+r.remover.rows,
				r.fence.Args(r.remover.table, r.remover.age, 1000, 1000)...)
			r.must(err)
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			r.must(err)
			plan := strings.Join(lines, "\n")
			if strings.Contains(plan, "Seq Scan on outbox_events") ||
				strings.Count(plan, "outbox_events_seq_key") != 2 {
				t.Errorf("%s, analyzed %v:\n%s", mode, analyzed, plan)
			}
		}
	}
}

// TestRowsOfAPartitionThatIsNotAccountedForStay, for as long as one slot of the table has not.
func TestRowsOfAPartitionThatIsNotAccountedForStay(t *testing.T) {
	t.Parallel()
	r := newFixture(t)
	r.write(3, 2*time.Hour)
	r.deliver()
	r.exec(`UPDATE relay_members SET accounted = false`)
	if b := r.remove(math.MinInt64, 10); b.Removed != 0 || r.left() != 3 || len(b.Kept) != 1 {
		t.Errorf("not accounted for: %+v", b)
	}
	r.exec(`UPDATE relay_members SET accounted = true, attached = '/1'`)
	if b := r.remove(math.MinInt64, 10); b.Removed != 0 || r.left() != 3 {
		t.Errorf("attached again: %+v", b)
	}
	r.exec(`UPDATE relay_members SET attached = ''`)
	if b := r.remove(math.MinInt64, 10); b.Removed != 3 || r.left() != 0 {
		t.Errorf("accounted for: %+v", b)
	}
}

// TestARowStaysUntilItsRealWriterIsDelivered, whatever the xid that its producer made up.
func TestARowStaysUntilItsRealWriterIsDelivered(t *testing.T) {
	t.Parallel()
	r := newFixture(t)
	r.deliver()
	r.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, created_at, xid)
		VALUES (gen_random_uuid(), 'order', '1', 't', '{}', now() - interval '2 hours', '3')`)
	if b := r.remove(math.MinInt64, 10); b.Removed != 0 || r.left() != 1 {
		t.Errorf("%+v", b)
	}
	var removed int64
	for deadline := time.Now().Add(time.Minute); removed == 0 &&
		time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		r.deliver() // again, as a transaction of another test on the same server may have begun before the writer
		removed = r.remove(math.MinInt64, 10).Removed
	}
	if removed != 1 || r.left() != 0 {
		t.Errorf("%d rows were removed, and %d are left", removed, r.left())
	}
}

// TestRowsWaitWithoutTheirCheckpoint: an operator deleted the checkpoint of a slot whose events
// wait in the table. Its guard is still there.
func TestRowsWaitWithoutTheirCheckpoint(t *testing.T) {
	t.Parallel()
	r := newFixture(t)
	r.write(10, 2*time.Hour)
	r.exec(`INSERT INTO outbox_deferrals
		(slot_name, outbox_table, destination, system_identifier, known, from_seq, routes, state, reason)
		SELECT 'gone', 'public.outbox_events', 'd', system_identifier::text, pg_current_snapshot(), 6, '{}', 'deferred',
			'r' FROM pg_control_system()`)
	r.exec(`INSERT INTO relay_checkpoints (slot_name, outbox_table, epoch, system_identifier)
		VALUES ('gone deferred', 'public.outbox_events', 0, 's')`)
	r.deliver()
	if batch := r.remove(0, 100); batch.Removed != 5 || r.left() != 5 {
		t.Errorf("%+v, %d rows are left", batch, r.left())
	}
	r.exec(`DELETE FROM relay_checkpoints WHERE slot_name = 'gone deferred'`) // the slot is never used again
	if r.remove(0, 100); r.left() != 0 {
		t.Errorf("%d rows are left", r.left())
	}
}
