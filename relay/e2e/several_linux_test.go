package e2e_test

import (
	"fmt"
	"testing"
	"time"
)

// TestManyTablesAreRelayed measures a relay with TABLES tables, each in a schema of its own: the
// time from the start of the process until it streams, how fast it drains EVENTS events of one
// table and of all, and its memory. `make tables` runs it with 1, 2 and 200.
func TestManyTablesAreRelayed(t *testing.T) {
	tables, events := number(t, "TABLES", 3), number(t, "EVENTS", 3000)
	w, arrived := newCountingEnv(t)
	setting := w.schemas(tables)
	if tables == 1 { // as a single table is relayed
		setting = "RELAY_TABLE=tenant_0.outbox"
	}
	path, err := shipped()
	w.must(err)
	start := func() (*process, time.Duration) {
		began := time.Now()
		p := w.startBinary(path, setting, "RELAY_LOG_LEVEL=info")
		p.awaitLog("event=streaming")
		return p, time.Since(began)
	}
	p, first := start()
	p.stop()
	p, again := start()
	p.stop()
	next := 0
	write := func(n int) {
		w.exec(fmt.Sprintf(`DO $$ BEGIN FOR n IN %d..%d LOOP
			EXECUTE format('INSERT INTO tenant_%%s.outbox (id, aggregate_type, aggregate_id, event_type, payload)
				VALUES (gen_random_uuid(), ''order'', %%L, ''order.created'', %%L)',
				n %% %d, n %% 10000, json_build_object('n', n, 'pad', repeat('x', 250)));
			COMMIT; END LOOP; END $$`, next, next+n-1, tables))
		next += n
	}
	write(events)
	began := time.Now()
	p = w.startBinary(path, setting, "RELAY_LOG_LEVEL=info", "RELAY_WINDOW_EVENTS=8192")
	w.within(10*time.Minute, "the first events arrive", func() bool { n, _ := arrived.count(); return n > events/100 })
	firstOnes := time.Now()
	w.within(10*time.Minute, "all events arrive", func() bool { n, _ := arrived.count(); return n == events })
	drained := time.Since(firstOnes)
	peak := p.checkMemory()
	t.Logf("%d tables: streams after %v, again after %v; %d events: the first after %v, %.0f events/s; %.1f MB",
		tables, first.Round(time.Millisecond), again.Round(time.Millisecond), events,
		firstOnes.Sub(began).Round(time.Millisecond), 0.99*float64(events)/drained.Seconds(), megabytes(peak))
}
