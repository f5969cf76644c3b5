package e2e_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// The test writes a thousand events a second for RETENTION_MINUTES, with a retention of 30 s and
// the default settings of autovacuum. It prints the sizes of table and indexes: `make retention`.
func TestTableStaysBoundedAtASteadyLoad(t *testing.T) {
	minutes, err := strconv.Atoi(os.Getenv("RETENTION_MINUTES"))
	if err != nil {
		t.Skip("takes minutes: make retention runs it")
	}
	server := newServer(t)
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders.fifo")
	listen := freeAddress(t)
	keep := "30s"
	if asked := os.Getenv("RETENTION_AGE"); asked != "" {
		keep = asked
	}
	w.startStreaming("RELAY_RETENTION="+keep, "RELAY_LISTEN="+listen, "RELAY_LOG_LEVEL=info")
	ctx, stop := context.WithTimeout(t.Context(), time.Duration(minutes)*time.Minute)
	defer stop()
	written := make(chan error, 1)
	go func() { written <- writeSteadily(ctx, w) }()

	var half, last int
	t.Log("   time    rows    table  indexes  dead rows  removed  commit to delivered, mean")
	for n := 1; ctx.Err() == nil; n++ {
		select {
		case <-ctx.Done():
			continue
		case <-time.After(15 * time.Second):
		}
		last = w.logSizes(listen, time.Duration(n)*15*time.Second)
		if n == 2*minutes {
			half = last
		}
	}
	w.must(<-written)
	if last > half*3/2 {
		t.Errorf("table and indexes grew from %d to %d bytes in the second half", half, last)
	}
}

// writeSteadily commits ten events every ten milliseconds.
func writeSteadily(ctx context.Context, w *testEnv) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		events := make([]outbox.Event, 10)
		for i := range events {
			events[i] = event(w.t, fmt.Sprint((10*n+i)%500), `{"padding":"`+strings.Repeat("x", 300)+`"}`)
		}
		err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error { return outbox.Insert(ctx, tx, events...) })
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// logSizes logs one line and returns the bytes of table and indexes.
func (w *testEnv) logSizes(listen string, at time.Duration) (bytes int) {
	w.t.Helper()
	var rows, table, indexes, dead int
	w.must(w.pool.QueryRow(w.t.Context(), `SELECT (SELECT count(*)
		FROM outbox_events), pg_table_size(oid), pg_indexes_size(oid),
		pg_stat_get_dead_tuples(oid) FROM pg_class
		WHERE oid = 'outbox_events'::regclass`).Scan(&rows, &table, &indexes, &dead))
	_, metrics := w.get("http://" + listen + "/metrics")
	value := func(name string) float64 {
		_, after, _ := strings.Cut(metrics, "\n"+name)
		_, text, _ := strings.Cut(after[:strings.IndexByte(after, '\n')], " ")
		v, err := strconv.ParseFloat(text, 64)
		w.must(err)
		return v
	}
	mean := value("relay_commit_to_delivered_seconds_sum") / value("relay_commit_to_delivered_seconds_count")
	w.t.Logf("%7s %7d %5.1f MB %5.1f MB %10d %8.0f  %.1f ms", at, rows, float64(table)/1e6, float64(indexes)/1e6, dead,
		value(`relay_rows_removed_total{table="outbox"}`), mean*1000)
	return table + indexes
}
