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
		"a table":        {func(*testEnv) {}, "outbox_events", nil},
		"a row filter":   {(*testEnv).filterRows, "outbox_events", []string{filtered}},
		"a renamed name": {(*testEnv).filterRows, "outbox_events", []string{filtered, "RELAY_COLUMN_PAYLOAD=payload,body"}},
		"partitions":     {(*testEnv).partitionByTime, "outbox_events", nil},
		"a partition":    {(*testEnv).partitionByTime, "today", nil},
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
			tx, err := w.pool.Begin(t.Context())
			w.must(err)
			defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
			_, err = tx.Exec(t.Context(), `LOCK TABLE `+c.locked+` IN ACCESS EXCLUSIVE MODE`)
			w.must(err)
			for n, began := 0, time.Now(); time.Since(began) < 2*timeout; n++ {
				body := fmt.Sprintf(`{"n":%d}`, n)
				w.emit(event(t, "1", body))
				committed := w.endOfLog()
				w.awaitBody(body)
				w.eventually("the event is confirmed", func() bool { return w.confirmed(committed) })
				time.Sleep(timeout / 8)
			}
			if strings.Contains(p.log.String(), "event=session_ended") {
				t.Errorf("a session ended: %s", tail(p.log.String(), 3))
			}
		})
	}
}
