package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// TestNoEventIsLostByARollback: a relay of an older version runs beside, takes over while events of
// a destination wait, and is replaced again, all under load and with retention. OLDER_RELAY is its
// program, as `make rollback` builds it. By default it is the relay itself.
func TestNoEventIsLostByARollback(t *testing.T) {
	t.Parallel()
	older := cmp.Or(os.Getenv("OLDER_RELAY"), relayBinary)
	o := newOutage(t, newTestEnv(t, "orders"))
	o.end()
	o.env = append(o.env, "RELAY_RETENTION=1s", "RELAY_DRAIN_TIMEOUT=2s")
	writing, stop := context.WithCancel(t.Context())
	defer stop()
	var written atomic.Int64
	done := make(chan error, 1)
	old := o.startBinary(older, o.env...)
	old.awaitLog("streaming")
	go func() { done <- o.writeLoad(writing, &written) }()
	o.eventually("events arrive", func() bool { return len(o.arrived()) > 50 })

	now := o.start(o.env...)
	now.awaitLog("event=standby")
	old.stop()
	now.awaitLog("event=streaming")
	o.begin()
	o.awaitState("deferred")
	o.awaitWaiting(200)

	old = o.startBinary(older, o.env...)
	old.awaitLog("standby")
	now.kill() // the rollback, while events wait
	old.awaitLog("streaming")
	o.end()
	before := len(o.arrived())
	o.eventually("the older relay delivers", func() bool { return len(o.arrived()) > before+50 })
	time.Sleep(3 * time.Second) // its retention looks each second

	now = o.start(o.env...)
	now.awaitLog("event=standby")
	old.kill()
	now.awaitLog("event=streaming")
	o.eventually("the newer relay delivers", func() bool { return o.deferred() != "deferred" })
	stop()
	o.must(<-done)
	n := int(written.Load())
	o.eventually(fmt.Sprintf("%d events have arrived at each destination", n), func() bool {
		return len(o.arrived()) == n && len(o.bodies()) == n
	})
	if letters := o.deadLetters(); letters != "" {
		t.Errorf("dead letters: %s", letters)
	}
	o.eventually("retention removes the rows", func() bool {
		return o.query(`SELECT count(*)::text FROM outbox_events`) == "0"
	})
}

// awaitWaiting waits until at least n events wait in the table.
func (o *outage) awaitWaiting(n int) {
	o.t.Helper()
	o.eventually("events wait", func() bool {
		return o.query(`SELECT (sum(events) >= $1)::text FROM outbox_deferrals`, n) == "true"
	})
}

// writeLoad writes an event for each destination, again and again, until ctx ends.
func (o *outage) writeLoad(ctx context.Context, written *atomic.Int64) error {
	for ctx.Err() == nil {
		_, err := o.pool.Exec(context.WithoutCancel(ctx), `
			INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
			SELECT gen_random_uuid(), kind, ($1::int % 20)::text, 't', json_build_object('n', $1::int)
			FROM unnest(ARRAY['other', 'order']) AS kind`, written.Load()+1)
		if err != nil {
			return err
		}
		written.Add(1)
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}
