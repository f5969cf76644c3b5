package e2e_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// The relay is killed with SIGKILL in the middle of a transaction of 50,000 events, or of BIG_ROWS
// events by `make big-transaction`.
func TestBigTransactionResumesInBoundedMemory(t *testing.T) {
	t.Parallel()
	rows := number(t, "BIG_ROWS", 50_000)
	limit := patience + time.Duration(rows)*time.Millisecond
	w, arrived := newCountingEnv(t)
	p := w.startShipped()
	began := time.Now()
	w.insertMany(rows)
	committed, end := time.Now(), w.endOfLog()
	w.within(limit, "half of the events have arrived", func() bool {
		distinct, _ := arrived.count()
		return distinct >= rows/2
	})
	hanging := w.broker.Script(fakeaws.Match{Action: "SendMessageBatch"}, fakeaws.Hang()) // the rest stays
	w.eventually("a part is stored", func() bool {
		return w.query(`SELECT (tx_delivered > 0)::text FROM relay_checkpoints WHERE slot_name = $1`, w.slot) == "true"
	})
	highest := p.checkMemory()
	p.kill()
	hanging.Clear()
	before, _ := arrived.count()
	arrived.takeLowest()
	stored, err := strconv.Atoi(w.query(`SELECT tx_delivered::text FROM relay_checkpoints
		WHERE slot_name = $1`, w.slot))
	w.must(err)
	if stored == 0 || before == rows {
		t.Fatalf("killed too early or too late: %d of %d events had arrived, %d were stored as delivered", before, rows,
			stored)
	}

	restarted := time.Now()
	p = w.startShipped()
	w.within(limit, fmt.Sprintf("all %d events have arrived", rows), func() bool {
		distinct, _ := arrived.count()
		return distinct == rows
	})
	took := time.Since(restarted)
	w.eventually("the transaction is confirmed", func() bool { return w.confirmed(end) })
	highest = max(highest, p.checkMemory())
	if lowest := arrived.takeLowest(); lowest <= stored {
		t.Errorf("event %d arrived again, though the first %d were stored as delivered", lowest, stored)
	}
	_, again := arrived.count()
	t.Logf("a transaction of %d events, written in %v, killed when %d had arrived (%v after the commit) "+
		"and %d of them were stored: %d arrived again, the rest took %v; memory at most %.1f MB",
		rows, committed.Sub(began).Round(time.Millisecond), before,
		restarted.Sub(committed).Round(time.Millisecond), stored, again, took.Round(time.Millisecond),
		megabytes(highest))
}
