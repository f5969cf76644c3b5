package e2e_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// steps names the steps of a recovery that keeps its slot, each with a text of the statement it
// sends.
var steps = map[string]string{
	"marked":             "CREATE_REPLICATION_SLOT",
	"snapshot taken":     "SET epoch = c.epoch + 1, recover_to",
	"snapshot stored":    "START_REPLICATION",
	"table to be read":   "WITH page AS",
	"to be finished":     "SET horizon = recover_to",
	"position to be set": "SET flush_lsn = greatest(c.flush_lsn, $4)",
}

// Half of the rows are deleted before the relay starts again. Every step of every gap is
// interrupted on the newest Postgres. The oldest one differs in a log that it refuses to decode, so
// there every step of such a gap is interrupted, and one step of each other gap.
func TestRecoveryKilledAtAnyStepLosesNothing(t *testing.T) {
	t.Parallel()
	names := slices.Sorted(maps.Keys(steps))
	for i, gap := range gaps {
		for j, step := range names {
			t.Run(gap.name+"/"+step, func(t *testing.T) {
				t.Parallel()
				check := func(t *testing.T, version int) { checkKilledAt(t, version, gap, steps[step]) }
				if gap.undecodable || i%len(names) == j {
					onOldAndNew(t, check)
					return
				}
				check(t, newest)
			})
		}
	}
}

func checkKilledAt(t *testing.T, version int, gap gap, statement string) {
	const events = 40
	w := newTestEnvOf(t, version, "orders.fifo")
	w.startStreaming().stop()
	write := func(from, to int) {
		for n := from; n < to; n++ {
			w.commit(event(t, fmt.Sprint(n%3), fmt.Sprintf(`{"n":%d}`, n)))
		}
	}
	removeHalf := func(from int) {
		w.exec(`DELETE FROM outbox_events WHERE (payload->>'n')::int % 2 = 1
			AND (payload->>'n')::int >= ` + fmt.Sprint(from))
	}
	write(0, events/2)
	if !gap.skips {
		removeHalf(0)
	}
	gap.do(w)
	write(events/2, events)
	removeHalf(events / 2)
	between, through := w.newNetwork()
	stop := between.HoldBack(statement)
	p := w.start("DATABASE_URL=" + through)
	w.await(stop)
	p.kill()
	between.Close()
	p = w.startStreaming()
	write(events, events+4)
	removeHalf(events)
	w.awaitEach(events + 4)
	for _, body := range gap.also {
		w.awaitBody(body)
	}
	w.awaitRecovered()
	if strings.Contains(p.log.String(), "event=slot_created") {
		t.Error("the slot is another one")
	}
}
