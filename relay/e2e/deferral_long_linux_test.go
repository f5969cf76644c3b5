package e2e_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
)

// longestStart bounds the start of a relay beside any number of events that wait. It takes about
// half a second, and tests share their machine.
const longestStart = 10 * time.Second

// longOutage is an outage whose broker forgets delivered messages. It keeps the figures that the
// test checks.
type longOutage struct {
	*outage
	path string // of the relay as it ships

	mu       sync.Mutex
	last     []uint8 // of the unavailable destination, by aggregate: the last event that arrived first
	arrived  int     // different events there
	reversed int     // that arrived after a later one of their aggregate
	beside   int     // events of the other destination
}

func newLongOutage(t *testing.T, aggregates int) *longOutage {
	t.Helper()
	l := &longOutage{last: make([]uint8, aggregates+1)}
	url := outboxtest.NewDatabase(t, 0)
	l.outage = newOutage(t, newBareEnv(t, url, "orders", fakeaws.Options{Retain: 1000, Accepted: l.accept}))
	l.env = []string{"RELAY_ROUTES=aggregate:other=" + l.other.ARN, "RELAY_PARK_AFTER=1s", "RELAY_LOG_LEVEL=info"}
	var err error
	l.path, err = shipped()
	l.must(err)
	return l
}

// accept counts a message. The body of an event of the unavailable destination names its aggregate,
// and its place there: 1 or 2.
func (l *longOutage) accept(_ string, r fakeaws.Receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var aggregate int
	var place uint8
	if _, err := fmt.Sscanf(r.Body, `{"a" : %d, "p" : %d}`, &aggregate, &place); err != nil {
		l.beside++
		return
	}
	switch last := l.last[aggregate]; {
	case place == last+1:
		l.last[aggregate] = place
		l.arrived++
	case place > last+1:
		l.reversed++
	}
}

func (l *longOutage) counts() (arrived, reversed, beside int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.arrived, l.reversed, l.beside
}

// writeOne writes one event for each of the aggregates, in transactions of 1,000.
func (l *longOutage) writeOne(aggregates, place int) {
	l.t.Helper()
	for i := 1; i <= aggregates; i += 1000 {
		l.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
			SELECT gen_random_uuid(), 'other', a::text, 't', json_build_object('a', a, 'p', $3::int)
			FROM generate_series($1::int, $2::int) AS a`, i, min(aggregates, i+999), place)
	}
}

// rate returns how many events a second the other destination gets while n are written for it.
func (l *longOutage) rate(n int) float64 {
	l.t.Helper()
	_, _, before := l.counts()
	began := time.Now()
	l.fill(n)
	l.within(10*patience, "the events beside have arrived", func() bool {
		_, _, now := l.counts()
		return now-before >= n
	})
	return float64(n) / time.Since(began).Seconds()
}

// TestALongOutageHarmsNoOther: one destination is unavailable while each of its aggregates gets an
// event, and a tenth of them a second one. `make deferral` shows the figures of a million
// aggregates.
func TestALongOutageHarmsNoOther(t *testing.T) {
	t.Parallel()
	aggregates := number(t, "DEFERRAL_AGGREGATES", 5000)
	waiting, beside := aggregates+aggregates/10, min(aggregates, 50_000)
	l := newLongOutage(t, aggregates)
	first := l.startBinary(l.path, l.env...)
	first.awaitLog("event=streaming")
	before := l.rate(beside)
	l.writeOne(aggregates, 1)
	l.awaitState("deferred")
	l.writeOne(aggregates/10, 2)
	l.awaitRead(aggregates)
	during := l.rate(beside)
	peak := first.checkMemory()
	first.kill()
	began := time.Now()
	second := l.startBinary(l.path, l.env...)
	second.awaitLog("event=streaming")
	started := time.Since(began)
	if started > longestStart {
		t.Errorf("the relay started within %v, want %v at most", started, longestStart)
	}
	after := l.rate(beside)
	l.end()
	ended := time.Now()
	l.within(l.patience(aggregates), "everything has arrived", func() bool {
		arrived, _, _ := l.counts()
		return arrived == waiting
	})
	took := time.Since(ended)
	if _, reversed, _ := l.counts(); reversed > 0 {
		t.Errorf("%d events arrived before an earlier one of their aggregate", reversed)
	}
	if letters := l.deadLetters(); letters != "" {
		t.Errorf("dead letters: %s", letters)
	}
	l.awaitState("")
	t.Logf("%d events of %d aggregates waited: start-up %v, memory at most %.1f MB", waiting, aggregates,
		started.Round(time.Millisecond), megabytes(max(peak, second.checkMemory())))
	t.Logf("the other destination: %.0f a second, %.0f during the outage, %.0f after a restart", before, during, after)
	t.Logf("all delivered %v after the end of the outage, %.0f a second", took.Round(time.Millisecond),
		float64(waiting)/took.Seconds())
}

// patience bounds a wait for as many events as there are aggregates.
func (l *longOutage) patience(aggregates int) time.Duration {
	return 2*patience + time.Duration(aggregates)*5*time.Millisecond
}

// awaitRead waits until the relay has read everything that is committed.
func (l *longOutage) awaitRead(aggregates int) {
	l.t.Helper()
	committed := l.endOfLog()
	l.within(l.patience(aggregates), "the log is read", func() bool { return l.confirmed(committed) })
}
