package e2e_test

import (
	"strings"
	"testing"
)

// recover runs relay recover, and runs it again while a relay acquires the slot at the same time,
// as the command then says. The test fails if the command fails otherwise.
func (w *testEnv) recover(args ...string) string {
	w.t.Helper()
	for {
		output, err := w.command(nil, append([]string{"recover"}, args...)...)
		switch {
		case err == nil:
			return output
		case !strings.Contains(output, "nothing is marked, because a relay acquired slot"):
			w.t.Fatalf("relay recover %v: %v: %s", args, err, output)
		}
	}
}

// row returns the checkpoint row without updated_at.
func (w *testEnv) row() string {
	return w.query(`SELECT (to_jsonb(c) - 'updated_at')::text FROM relay_checkpoints c WHERE slot_name = $1`, w.slot)
}

// fromAnotherCluster gives the checkpoint row the system identifier of another cluster.
func (w *testEnv) fromAnotherCluster() {
	w.t.Helper()
	w.exec(`UPDATE relay_checkpoints SET system_identifier = '1' WHERE slot_name = $1`, w.slot)
}

// restore writes n rows as a dump of another cluster would, whose transaction ids are far ahead.
// Each row was created a second after since.
func (w *testEnv) restore(n int, since string) {
	w.t.Helper()
	w.exec(`INSERT INTO outbox_events (id, seq, aggregate_type, aggregate_id, event_type, payload, xid, created_at)
		OVERRIDING SYSTEM VALUE
		SELECT gen_random_uuid(), i, 'order', (i % 7)::text, 'order.created',
		json_build_object('since', $2::text, 'n', i),
			((SELECT pg_snapshot_xmax(pg_current_snapshot()))::text::bigint + 1000000 + i)::text::xid8,
			$2::timestamptz + interval '1 second'
		FROM generate_series((SELECT coalesce(max(seq), 0) + 1 FROM outbox_events), (SELECT coalesce(max(seq), 0) + $1
		FROM outbox_events)) AS i`, n, since)
	w.exec(`SELECT setval(pg_get_serial_sequence('outbox_events', 'seq'), (SELECT max(seq) FROM outbox_events))`)
}

// awaitHorizon waits until the horizon covers every row of the table.
func (w *testEnv) awaitHorizon() {
	w.t.Helper()
	w.eventually("the horizon covers every row", func() bool {
		return w.query(`SELECT (SELECT bool_and(pg_visible_in_snapshot(xid, horizon)) FROM outbox_events)::text
			FROM relay_checkpoints WHERE slot_name = $1`, w.slot) == "true"
	})
}

func TestManualRecoveryPublishesRowsAboveTheHorizon(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitReceived(1)
	w.awaitHorizon()
	p.stop()
	w.commit(event(t, "1", `{"n":2}`), event(t, "2", `{"n":3}`))

	before := w.row()
	for _, want := range []string{
		"none: the slot brings every event", "does not count as delivered",
		"2, the oldest created", "--yes",
	} {
		if output := w.recover(); !strings.Contains(output, want) {
			t.Errorf("relay recover does not say %q:\n%s", want, output)
		}
	}
	if w.row() != before {
		t.Error("the dry run changed the checkpoint row")
	}
	w.dropSlot()
	if output := w.recover("--yes"); !strings.Contains(output, "the slot is gone") ||
		!strings.Contains(output, "marked") {
		t.Errorf("relay recover --yes says:\n%s", output)
	}
	before = w.row()
	if output := w.recover("--yes"); !strings.Contains(output, "marked already") || w.row() != before {
		t.Errorf("relay recover --yes says the second time:\n%s", output)
	}
	status, err := w.command(nil, "status")
	if exitCode(err) != 2 || !strings.Contains(status, "no position in the log yet") ||
		!strings.Contains(status, "marked: the next session") {
		t.Errorf("relay status says: %v\n%s", err, status)
	}
	w.startStreaming("RELAY_ON_SLOT_LOSS=halt") // an explicit recovery is the operator's decision
	w.commit(event(t, "1", `{"n":4}`))
	w.awaitBody(`{"n":4}`)
	for _, body := range []string{`{"n":1}`, `{"n":2}`, `{"n":3}`, `{"n":4}`} {
		if times := w.bodies()[body]; times != 1 {
			t.Errorf("%s was published %d times", body, times)
		}
	}
}

func TestManualRecoveryOfARunningRelayLosesNothing(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming("RELAY_ON_SLOT_LOSS=halt")
	standby := w.start("RELAY_ON_SLOT_LOSS=halt")
	standby.awaitLog("event=standby")
	made := strings.Count(p.log.String(), "event=snapshot_taken")
	for i := range 3 {
		w.insertMany(50)
		w.recover("--yes")
		w.insertMany(50)
		w.eventually("a snapshot is taken", func() bool {
			return strings.Count(p.log.String()+standby.log.String(), "event=snapshot_taken") > made+i
		})
	}
	w.commit(event(t, "last", `{"last":true}`))
	w.awaitBody(`{"last":true}`)
	w.eventually("each event has arrived", func() bool {
		ids := map[string]bool{}
		for _, r := range w.broker.Received(w.queue.ARN) {
			ids[attribute(r.Attributes, "event_id")] = true
		}
		return len(ids) == 301
	})
	for _, relay := range []*process{p, standby} {
		select {
		case <-relay.done:
			t.Errorf("a relay ended: %v", relay.err)
		default:
		}
	}
}

func TestManualRecoveryDoesNotHaltTheNextHolder(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	w.startStreaming().stop()
	between, through := w.newNetwork()
	acquiring := between.HoldBack("START_REPLICATION")
	p := w.start("DATABASE_URL="+through, "RELAY_ON_SLOT_LOSS=halt")
	w.await(acquiring) // the relay has read the checkpoint row
	w.commit(event(t, "1", `{"n":1}`))
	w.recover("--yes")
	acquiring.Pass()
	p.awaitLog("event=snapshot_taken")
	w.awaitBody(`{"n":1}`)
}

func TestRecoveryResumesAtTheHorizonAfterPgUpgrade(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	p := w.startStreaming()
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitReceived(1)
	w.awaitHorizon()
	p.stop()
	w.dropSlot()
	w.fromAnotherCluster()
	w.commit(event(t, "1", `{"n":2}`))
	for _, command := range []string{"run", "check", "recover"} {
		output, err := w.command(nil, command)
		if err == nil || !strings.Contains(output, "relay recover --trust-horizon") ||
			!strings.Contains(output, "relay recover --since=TIME") {
			t.Errorf("relay %s: %v: %s", command, err, output)
		}
	}
	w.recover("--trust-horizon", "--yes")
	w.startStreaming()
	w.awaitBody(`{"n":2}`)
	if times := w.bodies()[`{"n":1}`]; times != 1 {
		t.Errorf("the event that was delivered before the upgrade was published %d times", times)
	}
	if output, err := w.command(nil, "recover", "--trust-horizon"); err == nil ||
		!strings.Contains(output, "nothing to trust") {
		t.Errorf("%v: %s", err, output)
	}
}

func TestHorizonOfOtherTransactionIDsIsNotTrusted(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*testEnv){
		"horizon ahead": func(w *testEnv) {
			w.exec(`UPDATE relay_checkpoints SET horizon = '99999999990:99999999999:' WHERE slot_name = $1`, w.slot)
		},
		"rows ahead": func(w *testEnv) { w.restore(3, "2026-01-01T00:00:00Z") },
		"recovery from far away": func(w *testEnv) {
			w.exec(`UPDATE relay_checkpoints SET recover_from = '99999999999:99999999999:'`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			w.startStreaming().stop()
			w.fromAnotherCluster()
			change(w)
			before := w.row()
			output, err := w.command(nil, "recover", "--trust-horizon", "--yes")
			if err == nil || !strings.Contains(output, "transaction ids were not kept") ||
				!strings.Contains(output, "--since=TIME") {
				t.Errorf("%v: %s", err, output)
			}
			if w.row() != before {
				t.Error("the checkpoint row was changed")
			}
		})
	}
}

func TestRowsRestoredFromAnotherClusterArriveOnce(t *testing.T) {
	t.Parallel()
	const rows = 12000 // more rows than one statement changes
	for name, checkpoint := range map[string]func(*testEnv){
		"no checkpoint in the dump": func(*testEnv) {},
		"its checkpoint in the dump": func(w *testEnv) {
			w.startStreaming().stop()
			w.dropSlot()
			w.fromAnotherCluster()
			w.exec(`UPDATE relay_checkpoints SET horizon = '99999999990:99999999999:' WHERE slot_name = $1`, w.slot)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders.fifo")
			checkpoint(w)
			w.restore(10, "2026-01-01T00:00:00Z")
			w.restore(rows, "2026-02-01T00:00:00Z")
			w.commit(event(t, "1", `{"new":true}`))
			for _, start := range []string{"table", "now", "since:2026-02-01T00:00:00Z"} {
				for _, command := range []string{"run", "check"} {
					output, err := w.command([]string{"RELAY_START=" + start}, command)
					if err == nil || !strings.Contains(output, "relay recover --since=TIME") {
						t.Errorf("RELAY_START=%s relay %s: %v: %s", start, command, err, output)
					}
				}
			}
			output := w.recover("--since=2026-02-01T00:00:00Z")
			if !strings.Contains(output, "12001, the oldest created 2026-02-01T00:00:01Z") ||
				!strings.Contains(output, "imported rows") {
				t.Errorf("relay recover says:\n%s", output)
			}
			w.recover("--since=2026-02-01T00:00:00Z", "--yes")
			p := w.startStreaming()
			w.commit(event(t, "1", `{"newer":true}`))
			w.awaitAll(rows + 2)
			w.awaitHorizon() // otherwise retention would keep the rows for ever
			p.stop()
			w.dropSlot()
			w.startStreaming() // a later recovery skips and repeats none
			w.commit(event(t, "1", `{"newest":true}`))
			w.awaitAll(rows + 3)
			for body, times := range w.bodies() {
				if times != 1 || strings.Contains(body, "2026-01-01") {
					t.Errorf("%s was published %d times", body, times)
				}
			}
		})
	}
}
