package e2e_test

import (
	"slices"
	"strings"
	"testing"
)

// filtered is the setting by which an operator accepts a row filter.
const filtered = "RELAY_ROW_FILTER=assert"

// filterRows gives the publication a row filter. Tables of the relay have a column of the same
// name.
func (w *testEnv) filterRows() {
	w.t.Helper()
	w.exec(`ALTER TABLE outbox_events ADD COLUMN state text`)
	w.exec(`ALTER PUBLICATION outbox_pub SET TABLE outbox_events WHERE (state = 'live')`)
}

// insertState writes an event that was created a day ago.
func (w *testEnv) insertState(n int, state any) {
	w.t.Helper()
	w.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, created_at, state)
		VALUES (gen_random_uuid(), 'other', '1', 't', json_build_object('n', $1::int), now() - interval '1 day', $2)`,
		n, state)
}

func TestARowFilterIsRefusedUnlessDeclared(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.filterRows()
	output, err := w.command(nil, "check")
	if err == nil || !strings.Contains(output, "only those WHERE (state = 'live'::text)") ||
		!strings.Contains(output, "RELAY_ROW_FILTER=assert") {
		t.Errorf("%v: %s", err, output)
	}
	output, err = w.command([]string{filtered}, "check")
	if err != nil || !strings.Contains(output, "WHERE (state = 'live'::text), which no program changes") {
		t.Errorf("%v: %s", err, output)
	}
	w.exec(`ALTER PUBLICATION outbox_pub SET (publish = 'insert, update')`)
	w.exec(`ALTER TABLE outbox_events REPLICA IDENTITY FULL`)
	output, err = w.command([]string{filtered}, "check")
	if err == nil || !strings.Contains(output, `SET (publish = 'insert')`) {
		t.Errorf("%v: %s", err, output)
	}
}

// TestExcludedRowsAreNoGap: neither for the audit, nor a recovery, nor a deferral. Retention keeps
// them, and a replay does not send them.
func TestExcludedRowsAreNoGap(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders.fifo"))
	o.end()
	o.filterRows()
	o.insertState(1, "draft")
	env := slices.Concat(o.env, []string{filtered, "RELAY_ON_SLOT_LOSS=halt"})
	p := o.startStreaming(env...) // needs no RELAY_START: no row of the table is an event
	p.awaitLog("event=audit_begun")
	o.insertState(2, "live")
	o.insertState(3, "draft")
	o.insertState(4, nil)
	o.insertState(5, "live")
	o.eventually("the events have arrived", func() bool { return len(o.arrived()) == 2 })
	o.awaitDelivered()
	o.begin()
	o.insertState(6, "live")
	o.insertState(7, "draft")
	o.awaitState("deferred")
	o.insertState(8, "draft")
	o.insertState(9, "live")
	o.end()
	o.awaitAll(4)
	o.awaitState("")
	o.awaitDelivered()
	if strings.Contains(p.log.String(), "events_missing") {
		t.Error("the audit takes excluded rows for missing ones")
	}
	p.kill()
	o.dropSlot()
	o.insertState(10, "live")
	o.insertState(11, "draft")
	p = o.startStreaming(append(o.env, filtered)...)
	o.awaitAll(5)
	o.awaitDelivered()
	if output, err := o.command([]string{filtered}, "replay", "--aggregate", "other/1", "--yes"); err != nil ||
		!strings.Contains(output, "5 events of") {
		t.Errorf("replay: %v: %s", err, output)
	}
	p.stop()
	o.startStreaming(append(o.env, filtered, "RELAY_RETENTION=1h")...)
	o.eventually("the delivered rows are removed", func() bool {
		return o.query(`SELECT string_agg(payload ->> 'n', ' ' ORDER BY seq) FROM outbox_events`) == "1 3 4 7 8 11"
	})
	for n := range o.arrived() {
		if n != 2 && n != 5 && n != 6 && n != 9 && n != 10 {
			t.Errorf("excluded event %d was sent", n)
		}
	}
}

// TestAChangedRowFilterIsNoticed: the relay reads the table by the filter of then, and continues
// with that of now. Removing the filter is a change too.
func TestAChangedRowFilterIsNoticed(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	o.end()
	o.filterRows()
	p := o.startStreaming(append(o.env, filtered)...)
	p.awaitLog("event=audit_begun")
	o.insertState(1, "live")
	o.insertState(2, "draft")
	o.awaitAll(1)
	o.awaitDelivered()
	o.exec(`ALTER PUBLICATION outbox_pub SET TABLE outbox_events WHERE (state = 'new')`)
	o.insertState(3, "new")
	o.insertState(4, "live")
	o.eventually("the event that passes the new filter arrives", func() bool { return o.arrived()[3] })
	o.awaitDelivered()
	o.exec(`ALTER PUBLICATION outbox_pub SET TABLE outbox_events`)
	o.insertState(5, "draft")
	o.eventually("the event arrives without a filter", func() bool { return o.arrived()[5] })
	o.awaitDelivered()
	for n := range o.arrived() {
		if n == 2 || n == 4 {
			t.Errorf("excluded event %d was sent", n)
		}
	}
}

// TestRetentionKeepsFormerlyExcludedRows: no relay has delivered them, whatever the horizon shows.
func TestRetentionKeepsFormerlyExcludedRows(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	o.end()
	o.filterRows()
	p := o.startStreaming(append(o.env, filtered)...)
	o.insertState(1, "draft")
	o.insertState(2, "live")
	o.awaitAll(1)
	o.awaitDelivered()
	p.stop()
	o.exec(`ALTER PUBLICATION outbox_pub SET TABLE outbox_events`)
	o.startStreaming(append(o.env, "RELAY_RETENTION=1h")...)
	o.insertState(3, "draft")
	o.awaitAll(2)
	o.eventually("the row that was written since the change is removed", func() bool {
		return o.query(`SELECT string_agg(payload ->> 'n', ' ' ORDER BY seq) FROM outbox_events`) == "1 2"
	})
}

// TestADeferralKeepsItsRowFilter: by another one, the events that wait would not be found.
func TestADeferralKeepsItsRowFilter(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	o.filterRows()
	env := slices.Concat(o.env, []string{filtered})
	p := o.startStreaming(env...)
	for n := range 10 {
		o.insertState(n+1, "live")
	}
	o.awaitState("deferred")
	p.kill()
	o.exec(`ALTER PUBLICATION outbox_pub SET TABLE outbox_events WHERE (state = 'new')`)
	p = o.start(env...)
	if err := p.wait(); err == nil || !strings.Contains(p.log.String(), "since the publication had the row filter") {
		t.Errorf("%v: the relay does not say that the filter is needed", err)
	}
	o.exec(`ALTER PUBLICATION outbox_pub SET TABLE outbox_events WHERE (state = 'live')`)
	o.end()
	o.startStreaming(env...)
	o.awaitAll(10)
	o.awaitState("")
}
