package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestALockOnTheTableEndsNoStream: VACUUM FULL or a migration holds it. The relay reads what it
// needs for the stream from the catalog, without a lock on the table.
func TestALockOnTheTableEndsNoStream(t *testing.T) {
	t.Parallel()
	const timeout = 4 * time.Second
	for name, c := range map[string]struct {
		prepare func(w *testEnv)
		locked  string
		env     []string
	}{
		"a table":      {func(*testEnv) {}, "outbox_events", nil},
		"a row filter": {(*testEnv).filterRows, "outbox_events", []string{filtered}},
		"two names of a column": {
			(*testEnv).filterRows, "outbox_events", []string{filtered, "RELAY_COLUMN_PAYLOAD=payload,body"},
		},
		"partitions":  {(*testEnv).partitionByTime, "outbox_events", nil},
		"a partition": {(*testEnv).partitionByTime, "today", nil},
		"several tables": {
			func(w *testEnv) { w.addTable("billing", "outbox") }, "billing.outbox",
			[]string{"RELAY_TABLE=public.outbox_events,billing.outbox"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTestEnv(t, "orders")
			c.prepare(w)
			p := w.startStreaming(append(c.env, readsEmitted, "RELAY_WAL_SENDER_TIMEOUT="+timeout.String())...)
			p.awaitLog("event=audit_begun")
			w.streamsWhileLocked(p, c.locked, timeout*5/4)
		})
	}
}

// streamsWhileLocked locks a table for a time that is short, because the creation of a slot by
// another test waits for it, and checks that events arrive meanwhile, without
// an end of the session.
func (w *testEnv) streamsWhileLocked(p *process, table string, held time.Duration) {
	w.t.Helper()
	tx, err := w.pool.Begin(w.t.Context())
	w.must(err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(w.t.Context())) }()
	_, err = tx.Exec(w.t.Context(), `LOCK TABLE `+table+` IN ACCESS EXCLUSIVE MODE`)
	w.must(err)
	for n, began := 0, time.Now(); time.Since(began) < held; n++ {
		body := fmt.Sprintf(`{"locked":%d}`, n)
		w.emit(event(w.t, "1", body))
		committed := w.endOfLog()
		w.awaitBody(body)
		w.eventually("the event is confirmed", func() bool { return w.confirmed(committed) })
		time.Sleep(held / 16)
	}
	if strings.Contains(p.log.String(), "event=session_ended") {
		w.t.Errorf("a session ended: %s", tail(p.log.String(), 3))
	}
}

// TestADeferralOutlivesALockOnTheTable: its passes and retention wait for the lock, and nothing
// else does.
func TestADeferralOutlivesALockOnTheTable(t *testing.T) {
	t.Parallel()
	const timeout = 4 * time.Second
	o := newOutage(t, newTestEnv(t, "orders"))
	p := o.startStreaming(append(o.env, readsEmitted, "RELAY_RETENTION=1s",
		"RELAY_WAL_SENDER_TIMEOUT="+timeout.String())...)
	o.write(1, 100)
	o.awaitState("deferred")
	time.AfterFunc(timeout/2, o.end)
	o.streamsWhileLocked(p, "outbox_events", timeout*5/4)
	o.awaitAll(100)
	o.awaitState("")
}
