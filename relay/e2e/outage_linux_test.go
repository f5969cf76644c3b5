package e2e_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Four writers commit 5,000 events a second while the broker does not answer. The outage takes
// seconds, or OUTAGE_MINUTES by `make outage`. The walsender must keep the relay meanwhile.
func TestMemoryStaysBoundedDuringAnOutage(t *testing.T) {
	t.Parallel()
	outage := 5 * time.Second
	if minutes := number(t, "OUTAGE_MINUTES", 0); minutes > 0 {
		outage = time.Duration(minutes) * time.Minute
	}
	w, arrived := newCountingEnv(t)
	p := w.startShipped()
	holder := w.holder()
	unavailable := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Hang())
	began := time.Now()
	writing, cancel := context.WithTimeout(t.Context(), outage)
	defer cancel()
	var written atomic.Int64
	writers, writing := errgroup.WithContext(writing)
	for range 4 {
		writers.Go(func() error { return w.writeNumbered(writing, &written) })
	}
	report := func() {
		now, peak := p.memory()
		distinct, _ := arrived.count()
		t.Logf("%4.0f s: %8d events written, %8d arrived, %5s MB of log to deliver, memory %.1f MB, at most %.1f MB",
			time.Since(began).Seconds(), written.Load(), distinct, w.undeliveredMB(), megabytes(now), megabytes(peak))
	}
	watch := func(until func() bool) {
		for n := 1; !until(); n++ {
			time.Sleep(100 * time.Millisecond)
			if n%100 == 0 {
				report()
			}
			if now := w.holder(); now != holder {
				p.awaitLog("event=session_ended") // names the cause
				t.Fatalf("the slot was held by process %s, now by %q: the server or the relay timed the other out",
					holder, now)
			}
		}
	}
	watch(func() bool { return writing.Err() != nil })
	w.must(writers.Wait())
	report()
	committed := w.endOfLog()
	unavailable.Clear()
	ended := time.Now()
	limit := ended.Add(2*outage + patience)
	watch(func() bool {
		distinct, _ := arrived.count()
		return distinct == int(written.Load()) && w.confirmed(committed) || time.Now().After(limit)
	})
	distinct, again := arrived.count()
	if distinct != int(written.Load()) {
		t.Errorf("%d of %d events have arrived %v after the end of the outage", distinct, written.Load(),
			time.Since(ended))
	}
	if strings.Contains(p.log.String(), "event=session_ended") {
		t.Error("the session ended")
	}
	t.Logf("broker unavailable for %v while %d events were written: all arrived within %v, %d arrived again; memory "+
		"at most %.1f MB, one session",
		outage, written.Load(), time.Since(ended).Round(100*time.Millisecond), again, megabytes(p.checkMemory()))
}

// undeliveredMB returns the size of the log that the slot has not confirmed.
func (w *testEnv) undeliveredMB() string {
	w.t.Helper()
	return w.query(`SELECT (pg_wal_lsn_diff(pg_current_wal_insert_lsn(), confirmed_flush_lsn)::bigint >> 20)::text
		FROM pg_replication_slots WHERE slot_name = $1`, w.slot)
}

// holder returns the pid of the walsender that holds the slot.
func (w *testEnv) holder() string {
	w.t.Helper()
	return w.query(`SELECT active_pid::text FROM pg_replication_slots WHERE slot_name = $1`, w.slot)
}

// writeNumbered commits ten events every eight milliseconds until ctx ends. The events belong to
// 5,000 aggregates, and each has a unique number.
func (w *testEnv) writeNumbered(ctx context.Context, written *atomic.Int64) error {
	ticker := time.NewTicker(8 * time.Millisecond)
	defer ticker.Stop()
	padding := strings.Repeat("x", 300)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		events := make([]outbox.Event, 10)
		last := written.Add(int64(len(events)))
		for i := range events {
			n := last - int64(i) - 1
			events[i] = event(w.t, strconv.FormatInt(n%5000, 10), fmt.Sprintf(`{"n":%d,"padding":"%s"}`, n, padding))
		}
		commit := context.WithoutCancel(ctx) // every counted event is committed
		if err := pgx.BeginFunc(commit, w.pool, func(tx pgx.Tx) error {
			return outbox.Insert(commit, tx, events...)
		}); err != nil {
			return err
		}
	}
}
