package e2e_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// insertWithSeq writes an event whose seq a service or an operator has chosen.
func (w *testEnv) insertWithSeq(kind string, n int, seq int64) {
	w.t.Helper()
	w.exec(`INSERT INTO outbox_events (id, seq, aggregate_type, aggregate_id, event_type, payload)
		OVERRIDING SYSTEM VALUE
		VALUES (gen_random_uuid(), $1, $2, 'a', 't', json_build_object('n', $3::int))`, seq, kind, n)
}

// renumbered is the statement that the relay gives for a row whose seq no row may have.
func renumbered(seq int64) string {
	return fmt.Sprintf(`UPDATE "public"."outbox_events" SET "seq" = DEFAULT WHERE "seq" = %d;`, seq)
}

// logged is the end of such a statement in the log.
func logged(seq int64) string { return fmt.Sprintf(`WHERE \"seq\" = %d;`, seq) }

// No number is before the lowest one, so a read that begins behind the number before it begins
// behind every row.
func TestTheLowestSeqHidesNoEvent(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming().stop()
	for n := range 3 {
		w.commit(event(t, "a", fmt.Sprintf(`{"n" : %d}`, n)))
	}
	w.insertWithSeq("order", 3, math.MinInt64)
	w.dropSlot()
	for _, command := range []string{"check", "run"} {
		output, err := w.command([]string{"RELAY_RETENTION=1s"}, command)
		if err == nil || !strings.Contains(output, renumbered(math.MinInt64)) {
			t.Errorf("relay %s: %v: %s", command, err, output)
		}
	}
	w.exec(renumbered(math.MinInt64))
	w.startStreaming("RELAY_RETENTION=1s")
	for n := range 4 {
		w.awaitBody(fmt.Sprintf(`{"n" : %d}`, n))
	}
}

// Both numbers mean something else in a deferral. No event that waits counts as delivered for them.
func TestASeqAtTheLimitIsNotDeferredAsDone(t *testing.T) {
	t.Parallel()
	for _, seq := range []int64{math.MinInt64, math.MaxInt64} {
		t.Run(fmt.Sprint(seq), func(t *testing.T) {
			t.Parallel()
			o := newPausable(t)
			p := o.startPaused()
			o.insertWithSeq("other", 21, seq)
			committed := o.endOfLog()
			o.eventually("the relay has read the event", func() bool { return o.confirmed(committed) })
			o.exec(`DELETE FROM outbox_pauses`)
			p.awaitLog(logged(seq))
			o.exec(renumbered(seq))
			o.awaitAll(21)
		})
	}
}

// A partition is read from the lowest number on, which a column of integers does not have.
func TestIntegerSeqsOfANewTableArrive(t *testing.T) {
	t.Parallel()
	w := newOwnServerEnv(t, "orders.fifo")
	env := w.schemas(1)
	w.exec(`ALTER TABLE tenant_0.outbox ALTER seq TYPE integer`)
	w.startStreaming(env)
	w.createTable("tenant_new", "outbox")
	w.exec(`ALTER TABLE tenant_new.outbox ALTER seq TYPE integer`)
	w.insertInto("tenant_new.outbox", "early", 1, 3)
	w.exec(`ALTER PUBLICATION outbox_pub ADD TABLE tenant_new.outbox`)
	w.awaitOfTable("tenant_new.outbox", "early", 3)
}

func TestTheLowestIntegerSeqArrives(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.exec(`ALTER TABLE outbox_events ALTER seq TYPE integer`)
	w.insertWithSeq("order", 1, math.MinInt32)
	w.insertWithSeq("order", 2, 1)
	w.startStreaming("RELAY_START=table")
	for n := 1; n <= 2; n++ {
		w.awaitBody(fmt.Sprintf(`{"n" : %d}`, n))
	}
}

// A partition that is attached with such a row is not taken for one that is read.
func TestTheLowestSeqOfAPartitionIsNamed(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.partitionByTime()
	p := w.startStreaming()
	w.fill("old", newXID, 1, 2)
	w.exec(`UPDATE old SET seq = $1 WHERE payload = '1'`, int64(math.MinInt64))
	w.attachOld("old")
	p.awaitLog(logged(math.MinInt64))
	w.exec(`UPDATE outbox_events SET seq = DEFAULT WHERE seq = $1`, int64(math.MinInt64))
	w.awaitBody("1")
	w.awaitBody("2")
}

func TestAReplayFromTheLowestSeqIsRefused(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.startStreaming()
	w.insertWithSeq("order", 1, math.MinInt64)
	w.insertWithSeq("order", 2, 1)
	w.awaitBody(`{"n" : 2}`)
	w.awaitHorizon()
	output, err := w.command(nil, "replay", "--since=1h")
	if err == nil || !strings.Contains(output, renumbered(math.MinInt64)) {
		t.Errorf("relay replay: %v: %s", err, output)
	}
}
