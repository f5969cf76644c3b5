package e2e_test

import (
	"strings"
	"testing"
)

// TestRowsThatLackAColumnArriveOnRecovery: the log has such a row, and no setting can read it.
func TestRowsThatLackAColumnArriveOnRecovery(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change, restore string
		isGap           bool // the relay recovers by itself
	}{
		"excluded from the publication": {
			`ALTER PUBLICATION outbox_pub SET TABLE outbox_events (id, seq, xid, note)`,
			`ALTER PUBLICATION outbox_pub SET TABLE outbox_events`, true,
		},
		"dropped and added again": {
			`ALTER TABLE outbox_events DROP COLUMN headers`,
			`ALTER TABLE outbox_events ADD COLUMN headers jsonb NOT NULL DEFAULT '{}'`, false,
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
			w.exec(c.restore)
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
