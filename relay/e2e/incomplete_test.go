package e2e_test

import (
	"slices"
	"strings"
	"testing"
)

// onlyKeys has the log lack the payload and the event type of rows, until allColumns.
const (
	onlyKeys   = `ALTER PUBLICATION outbox_pub SET TABLE outbox_events (id, seq, xid, aggregate_type, aggregate_id)`
	allColumns = `ALTER PUBLICATION outbox_pub SET TABLE outbox_events`
)

// TestRowsThatLackAColumnArriveOnRecovery: the log has such a row, and no setting can read it.
func TestRowsThatLackAColumnArriveOnRecovery(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  string
		restore []string
		isGap   bool // the relay recovers by itself
	}{
		"excluded from the publication": {
			`ALTER PUBLICATION outbox_pub SET TABLE outbox_events (id, seq, xid, note)`,
			[]string{allColumns},
			true,
		},
		"excluded by the publication, and another one dropped": {
			`ALTER PUBLICATION outbox_pub SET TABLE outbox_events (id, seq, xid, note)`,
			[]string{
				allColumns, `ALTER TABLE outbox_events DROP COLUMN note`,
			},
			true,
		},
		"dropped and added again": {
			`ALTER TABLE outbox_events DROP COLUMN headers`,
			[]string{`ALTER TABLE outbox_events ADD COLUMN headers jsonb NOT NULL DEFAULT '{}'`},
			false,
		},
		"dropped and added again, and another one dropped": {
			`ALTER TABLE outbox_events DROP COLUMN headers`,
			[]string{
				`ALTER TABLE outbox_events ADD COLUMN headers jsonb NOT NULL DEFAULT '{}'`,
				`ALTER TABLE outbox_events DROP COLUMN note`,
			},
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			write := func(body string) {
				w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
					VALUES (gen_random_uuid(), 'order', '1', 'order.created', $1)`, body)
			}
			w.exec(`ALTER TABLE outbox_events ADD COLUMN note text`)
			w.startStreaming().stop()
			write(`{"n":0}`)
			w.exec(`DELETE FROM outbox_events`) // only the log has it
			w.exec(c.change)
			write(`{"n":1}`)
			w.execAll(c.restore)
			write(`{"n":2}`)
			p := w.start()
			if !c.isGap {
				if err := p.wait(); err == nil || !strings.Contains(p.log.String(), "run relay recover") {
					t.Fatalf("the relay ended with %v", err)
				}
				w.recover("--yes")
				p = w.start()
			}
			w.awaitEach(3)
			w.awaitRecovered()
			p.awaitLog("event=streaming")
			p.awaitLog("event=log_incomplete")
		})
	}
}

// TestARowThatOnlyTheLogHasIsNeverLost: it lacks a column there, and its row was deleted.
func TestARowThatOnlyTheLogHasIsNeverLost(t *testing.T) {
	t.Parallel()
	onOldAndNew(t, func(t *testing.T, version int) {
		w := newTestEnvOf(t, version, "orders.fifo")
		w.startStreaming().stop()
		w.exec(onlyKeys)
		w.commit(event(t, "1", `{"n":1}`))
		w.commit(event(t, "2", `{"n":2}`))
		id := w.query(`DELETE FROM outbox_events WHERE aggregate_id = '1' RETURNING id::text`)
		w.exec(allColumns)
		w.startStreaming()
		w.awaitBody(`{"n":2}`)
		w.awaitRecovered()
		w.awaitStatus(1, "1 event is parked: 1 IncompleteRow")
		output, err := w.command(nil, "dead-letters", "list")
		if err != nil || !strings.Contains(output, id) || !strings.Contains(output, "IncompleteRow") {
			t.Errorf("relay dead-letters list ends with %v: %s", err, output)
		}
		if output, err := w.command(nil, "dead-letters", "discard", "--all"); err != nil {
			t.Errorf("relay dead-letters discard ends with %v: %s", err, output)
		}
		w.awaitStatus(0, "ok  slot")
	})
}

// TestAnIncompleteRowIsNeverSent: no consumer can use it, whatever the operator does.
func TestAnIncompleteRowIsNeverSent(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming().stop()
	w.exec(onlyKeys)
	w.commit(event(t, "1", `{"n":1}`))
	w.commit(event(t, "1", `{"n":2}`))
	w.exec(`DELETE FROM outbox_events`)
	w.exec(allColumns)
	w.startStreaming()
	w.awaitStatus(1, "2 events are parked: 2 IncompleteRow")
	output, err := w.command(nil, "dead-letters", "redrive", "--all")
	if err == nil || !strings.Contains(output, "was refused again: IncompleteRow: the row has no column event_type") {
		t.Errorf("a redrive ends with %v: %s", err, output)
	}
	w.awaitStatus(1, "2 events are parked: 2 IncompleteRow")
	first := w.query(`SELECT min(position)::text FROM outbox_dead_letters`)
	if output, err := w.command(nil, "dead-letters", "discard", first); err != nil {
		t.Errorf("to discard the first ends with %v: %s", err, output)
	}
	w.commit(event(t, "2", `{"n":3}`))
	w.awaitBody(`{"n":3}`)
	w.awaitStatus(1, "1 event is parked: 1 IncompleteRow")
	if received := len(w.broker.Received(w.queue.ARN)); received != 1 {
		t.Errorf("%d events arrived, want 1", received)
	}
}

// TestAnIncompleteRowDoesNotWaitInTheTable: a pass of the deferral would not find it.
func TestAnIncompleteRowDoesNotWaitInTheTable(t *testing.T) {
	t.Parallel()
	o := newPausable(t)
	p := o.startPaused()
	o.write(21, 40)
	o.awaitState("deferred")
	o.awaitCheckpoint()
	p.stop()
	o.exec(onlyKeys)
	o.write(41, 50)
	o.exec(`DELETE FROM outbox_events WHERE seq = (SELECT max(seq) FROM outbox_events)`)
	o.exec(allColumns)
	o.start(o.env...).awaitLog("event=log_incomplete")
	o.run("resume", "other.fifo", "--no-wait")
	o.eventually("the row is parked", func() bool {
		return strings.HasPrefix(o.query(`SELECT string_agg(code, ' ') FROM outbox_dead_letters`), "IncompleteRow")
	})
	if output, err := o.command(o.env, "dead-letters", "discard", "--all"); err != nil {
		t.Errorf("to discard it ends with %v: %s", err, output)
	}
	o.eventually("the others arrive", func() bool { return len(o.arrived()) == 49 })
}

// TestARouteDropsNoIncompleteRow: the column that it lacks may lead it to a destination.
func TestARouteDropsNoIncompleteRow(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	env := "RELAY_ROUTES=event:order.created=" + w.queue.URL + ";aggregate:order=none"
	w.startStreaming(env).stop()
	w.exec(onlyKeys)
	w.commit(event(t, "1", `{"n":1}`))
	w.exec(`DELETE FROM outbox_events`)
	w.exec(allColumns)
	w.startStreaming(env)
	w.awaitStatus(1, "1 event is parked: 1 IncompleteRow")
}

// TestAnAcceptedLossKeepsWhatTheLogHas: a setting may read a row of the log by its former column.
func TestAnAcceptedLossKeepsWhatTheLogHas(t *testing.T) {
	t.Parallel()
	w := newPlainTable(t, "orders")
	env := append(slices.Clone(plainColumns), "RELAY_START=now")
	w.startStreaming(env...).stop()
	w.exec(insertPlain, "in the log")
	w.exec(`ALTER TABLE plain RENAME payload TO body`)
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE plain`)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE plain`)
	env = append(env, "RELAY_COLUMN_PAYLOAD=body")
	if output, err := w.command(env, "recover", "--accept-loss", "--yes"); err != nil {
		t.Fatalf("relay recover ends with %v: %s", err, output)
	}
	setting := w.start(env...).follow()
	w.startStreaming(append(env, setting)...)
	w.awaitBody("in the log")
}

// TestARowWithoutAnIdentityIsNeverLost: the relay cannot find it in the table, so it is parked.
func TestARowWithoutAnIdentityIsNeverLost(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming().stop()
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE outbox_events (xid, aggregate_type, aggregate_id)`)
	w.commit(event(t, "1", `{"n":1}`), event(t, "2", `{"n":2}`))
	w.exec(`DELETE FROM outbox_events WHERE aggregate_id = '1'`)
	w.exec(allColumns)
	w.startStreaming()
	w.awaitBody(`{"n":2}`)
	w.awaitRecovered()
	w.awaitStatus(1, "2 events are parked: 2 IncompleteRow")
}

// TestARenamedColumnOfADeletedRowIsAsked: a setting reads the row, and the relay does not park it.
func TestARenamedColumnOfADeletedRowIsAsked(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":1}`))
	w.exec(`DELETE FROM outbox_events`)
	w.exec(`ALTER TABLE outbox_events RENAME payload TO body`)
	w.exec(`ALTER PUBLICATION outbox_pub DROP TABLE outbox_events`) // a gap
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE outbox_events`)
	p := w.start("RELAY_COLUMN_PAYLOAD=body")
	setting := p.follow()
	if !strings.Contains(p.log.String(), "event then becomes a dead letter") {
		t.Error("the relay does not say how to continue without a rename")
	}
	w.startStreaming(setting)
	w.awaitBody(`{"n":1}`)
}
