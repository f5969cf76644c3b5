package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// newSchema1Env returns an environment with outbox schema version 1, a slot, and four delivered
// events of four aggregates. Its checkpoint row is that of a relay of this schema.
func newSchema1Env(t *testing.T) *testEnv {
	t.Helper()
	w := newBareEnv(t, pgtest.NewDatabase(t), "orders.fifo", fakeaws.Options{})
	first, err := os.ReadFile("../outbox/migrations/001_outbox.sql")
	w.must(err)
	w.must(w.pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error {
		files := fstest.MapFS{"001_outbox.sql": &fstest.MapFile{Data: first}}
		_, _, err := migrations.Apply(t.Context(), c.Conn(), files, migrations.VersionTable)
		return err
	}))
	w.writeHourly(1, 4)
	w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.slot)
	fingerprint, err := slot.Fingerprint(t.Context(), w.pool,
		slot.Publication{Name: "outbox_pub", Table: "public.outbox_events"})
	w.must(err)
	w.exec(olderStatements(t)["create checkpoint"], w.slot, "public.outbox_events",
		w.query(`SELECT system_identifier::text FROM pg_control_system()`),
		w.query(`SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1`, w.slot),
		w.query(`SELECT pg_current_snapshot()::text`), fingerprint, "", "", "")
	return w
}

// olderStatements returns the statements of a relay of schema version 1, by name.
func olderStatements(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/schema1.sql")
	if err != nil {
		t.Fatal(err)
	}
	statements := map[string]string{}
	for _, part := range strings.Split(string(text), "-- name: ")[1:] {
		name, sql, _ := strings.Cut(part, "\n")
		statements[name] = strings.TrimSuffix(strings.TrimSpace(sql), ";")
	}
	return statements
}

// deadLetter writes a dead letter of an event as a relay of schema version 1 does.
func (w *testEnv) deadLetter(n int, code, state string) {
	w.t.Helper()
	w.exec(`INSERT INTO outbox_dead_letters (event_id, outbox_table, destination, message_group, blocks_group, code,
		reason, attempts, event, state)
		SELECT id::text, 'public.outbox_events', $1, 'order/1', true, $3, 'r', 1,
			json_build_object('body', payload::text, 'attributes', '[]'::json, 'message_group_id', 'order/1',
			'message_deduplication_id', id), $4
		FROM outbox_events WHERE seq = $2`, w.queue.ARN, n, code, state)
}

// upgradeCase is the state that an older relay leaves, with the result of the new relay.
type upgradeCase struct {
	leave func(w *testEnv)
	want  string // bodies that arrive
	check func(w *testEnv) bool
}

var upgradeCases = map[string]upgradeCase{
	"checkpoint": {
		leave: func(w *testEnv) { w.writeHourly(5, 6) },
		want:  numbered(5) + numbered(6),
		check: func(w *testEnv) bool {
			return w.query(`SELECT (epoch > 1)::text FROM relay_checkpoints`) == "true"
		},
	},
	"dead letters": {
		leave: func(w *testEnv) {
			w.deadLetter(1, "Refused", "redriven")
			w.deadLetter(2, "Refused", "redriving")
			w.deadLetter(3, "Refused", "parked")
			w.deadLetter(4, "BlockedGroup", "parked")
			w.writeHourly(5, 5) // an event of the same aggregate
		},
		want: numbered(2),
		check: func(w *testEnv) bool {
			return w.deadLetters() == "redriven,redriven,parked,parked" &&
				w.query(`SELECT aggregate_id FROM outbox_deferrals WHERE state = 'deferred'`) == "1"
		},
	},
	"recovery": {
		leave: func(w *testEnv) {
			w.exec(`UPDATE relay_checkpoints SET recover_from = '3:3:', recover_to = pg_current_snapshot(),
				recovered_seq = 2, horizon = NULL`)
		},
		want: numbered(3) + numbered(4),
		check: func(w *testEnv) bool {
			return w.query(`SELECT (recover_from IS NULL AND horizon IS NOT NULL)::text
				FROM relay_checkpoints`) == "true"
		},
	},
	"replay": {
		leave: func(w *testEnv) {
			w.exec(`INSERT INTO outbox_replays (slot_name, outbox_table, since, horizon, last_seq, rate, events,
				passed_seq, sent)
				SELECT slot_name, outbox_table, '2026-01-01', horizon, 4, 100, 4, 2, 2 FROM relay_checkpoints`)
		},
		want: numbered(3) + numbered(4),
		check: func(w *testEnv) bool {
			return w.query(`SELECT state FROM outbox_replays WHERE sent = 4`) == "done"
		},
	},
}

func TestNewRelayContinuesAnOlderOne(t *testing.T) {
	t.Parallel()
	for name, c := range upgradeCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSchema1Env(t)
			c.leave(w)
			if out, err := w.command(nil, "check"); err == nil || !strings.Contains(out, "relay migrate") {
				t.Errorf("check of the older schema: %v: %s", err, out)
			}
			if out, err := w.command(nil, "migrate"); err != nil {
				t.Fatalf("migrate: %v: %s", err, out)
			}
			w.startStreaming()
			w.eventually("the new relay is done", func() bool { return c.check(w) })
			w.eventually("the events have arrived", func() bool { return w.arrived() == c.want })
		})
	}
}

// arrived returns the bodies that the default destination has accepted, sorted, as one text.
func (w *testEnv) arrived() string {
	var bodies []string
	for _, r := range w.broker.Received(w.queue.ARN) {
		bodies = append(bodies, r.Body)
	}
	slices.Sort(bodies)
	return strings.Join(bodies, "")
}

// The older relay was killed after it parked the event, and before it confirmed the position.
func TestDeadLetterOfAnOlderRelayIsRecognized(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.refuseBody(`{"n":1}`)
	w.startStreaming().stop()
	before := w.query(`SELECT flush_lsn::text FROM relay_checkpoints`)
	w.exec(`SELECT pg_create_logical_replication_slot('keep', 'pgoutput')`)
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":1}`))
	w.eventually("the event is parked", func() bool { return w.deadLetters() == "parked" })
	p.kill()
	w.exec(`UPDATE outbox_dead_letters SET slot_name = NULL, row_key = NULL, row_seq = NULL, row_event_id = NULL`)
	w.dropSlot()
	w.exec(`SELECT pg_copy_logical_replication_slot('keep', $1)`, w.slot)
	w.exec(`SELECT pg_drop_replication_slot('keep')`)
	w.exec(`UPDATE relay_checkpoints SET flush_lsn = $1, tx_commit_lsn = NULL, tx_delivered = NULL,
		tx_last_event_id = NULL`,
		w.query(`SELECT greatest($1::pg_lsn, confirmed_flush_lsn)::text FROM pg_replication_slots
			WHERE slot_name = $2`, before, w.slot))
	w.startStreaming()
	w.eventually("the dead letter has its row", func() bool {
		return w.query(`SELECT string_agg((row_seq = 1 AND slot_name IS NOT NULL)::text, ',')
			FROM outbox_dead_letters`) == "true"
	})
	w.commit(event(t, "2", `{"n":2}`))
	w.awaitBody(`{"n":2}`)
	if states := w.deadLetters(); states != "parked" {
		t.Errorf("the dead letters are %s", states)
	}
}

var placeholder = regexp.MustCompile(`\$(\d+)`)

// parameters returns a list of NULLs for the parameters of a statement.
func parameters(sql string) string {
	most := 0
	for _, match := range placeholder.FindAllStringSubmatch(sql, -1) {
		var n int
		_, _ = fmt.Sscan(match[1], &n)
		most = max(most, n)
	}
	if most == 0 {
		return ""
	}
	return "(" + strings.TrimSuffix(strings.Repeat("NULL, ", most), ", ") + ")"
}

// An older relay runs next to a new one during a deployment, and alone after a rollback.
func TestAnOlderRelayWorksOnTheNewSchema(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming(w.sharedID()...)
	w.exec(`INSERT INTO events (id, kind, body) VALUES ('A', NULL, '{}'), ('A', NULL, '{}')`)
	w.eventually("both are parked", func() bool { return w.deadLetters() == "parked,parked" })
	older := olderStatements(t)
	conn, err := w.pool.Acquire(t.Context())
	w.must(err)
	defer conn.Release()
	// The server plans each statement, and needs an index for its ON CONFLICT.
	for name, sql := range older {
		_, err := conn.Exec(t.Context(), `PREPARE older AS `+sql)
		if err == nil {
			_, err = conn.Exec(t.Context(),
				`SET plan_cache_mode = force_generic_plan; EXPLAIN EXECUTE older`+parameters(sql)+`; DEALLOCATE older`)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var epoch, pid int64
	w.must(w.pool.QueryRow(t.Context(), `SELECT epoch, active_pid FROM relay_checkpoints
		JOIN pg_replication_slots USING (slot_name)
		WHERE slot_name = $1`, w.slot).Scan(&epoch, &pid))
	parks := func(id string) {
		t.Helper()
		tag, err := w.pool.Exec(t.Context(), older["park"], w.slot, epoch, pid, id, "public.events", w.queue.ARN,
			"event:"+id, true, "c", "r", 1, `{}`)
		if err != nil || tag.RowsAffected() != 1 {
			t.Errorf("park %s: %v, %v", id, tag, err)
		}
	}
	parks("B")
	parks("A") // the event arrives again, and the older relay finds it parked
	if states := w.deadLetters(); states != "parked,parked,parked" {
		t.Errorf("the dead letters are %s", states)
	}
	if n := w.query(`SELECT count(*)::text FROM (` + inline(older["blocked groups"], "public.events") +
		`) AS blocked`); n != "2" {
		t.Errorf("the older relay sees %s blocked groups", n)
	}
	tag, err := w.pool.Exec(t.Context(), older["mark redriving"], []int64{2}, "", "", "", "", []string{})
	if err != nil || tag.RowsAffected() != 1 {
		t.Errorf("redrive of the dead letter with the suffix: %v, %v", tag, err)
	}
	rows, err := w.pool.Query(t.Context(), older["redriving"], "public.events", w.queue.ARN, 10)
	w.must(err)
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (position int64, err error) {
		err = row.Scan(&position, nil, nil, nil, nil, nil)
		return position, err
	})
	if err != nil || len(found) != 1 {
		t.Errorf("the older relay would redrive %v, %v", found, err)
	}
}

// inline replaces the only parameter of a statement by a text.
func inline(sql, value string) string { return strings.ReplaceAll(sql, "$1", "'"+value+"'") }
