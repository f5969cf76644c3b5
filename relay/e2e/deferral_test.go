package e2e_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// outage is a test environment with a second destination, which is unavailable. Events of the
// aggregate type other go there.
type outage struct {
	*testEnv
	other fakeaws.Queue
	rule  *fakeaws.Rule
	env   []string
}

func newOutage(t *testing.T, w *testEnv) *outage {
	t.Helper()
	o := &outage{testEnv: w}
	var err error
	o.other, err = w.broker.CreateQueue("other.fifo", nil)
	w.must(err)
	o.begin()
	o.env = []string{
		"RELAY_ROUTES=aggregate:other=" + o.other.ARN, "RELAY_PARK_AFTER=1s", "RELAY_WINDOW_EVENTS=50",
		"RELAY_RETRY_MAX=300ms",
	}
	return o
}

// begin makes the destination unavailable.
func (o *outage) begin() {
	o.rule = o.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Destination: "other.fifo"}, fakeaws.Missing())
}

// end makes the destination available.
func (o *outage) end() { o.rule.Clear() }

// write writes events from number first to last, of 20 aggregates, in one transaction each 10.
func (o *outage) write(first, last int) {
	o.t.Helper()
	for i := first; i <= last; i += 10 {
		o.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)
			SELECT gen_random_uuid(), 'other', (i % 20)::text, 't', json_build_object('n', i)
			FROM generate_series($1::int, $2::int) AS i`,
			i, min(last, i+9))
	}
}

// deferred returns the state of the deferral, and about how many events wait.
func (o *outage) deferred() string {
	return o.query(`SELECT state FROM outbox_deferrals`)
}

func (o *outage) awaitState(state string) {
	o.t.Helper()
	o.eventually("the deferral is "+state, func() bool { return o.deferred() == state })
}

// awaitAll waits until n different events have arrived, and checks that the first deliveries of
// each aggregate are in order. It returns how many came twice.
func (o *outage) awaitAll(n int) (repeated int) {
	o.t.Helper()
	o.eventually(fmt.Sprintf("%d events have arrived", n), func() bool { return len(o.arrived()) >= n })
	if got := len(o.arrived()); got != n {
		o.t.Errorf("%d different events arrived, want %d", got, n)
	}
	last, seen := map[string]int{}, map[int]bool{}
	for _, r := range o.broker.Received(o.other.ARN) {
		n := number0(o.t, r.Body)
		if seen[n] {
			repeated++
			continue
		}
		if seen[n] = true; n <= last[r.GroupID] {
			o.t.Errorf("group %s: %d arrived after %d", r.GroupID, n, last[r.GroupID])
		}
		last[r.GroupID] = n
	}
	return repeated
}

// arrived returns the numbers of the events that the destination has.
func (o *outage) arrived() map[int]bool {
	seen := map[int]bool{}
	for _, r := range o.broker.Received(o.other.ARN) {
		seen[number0(o.t, r.Body)] = true
	}
	return seen
}

func number0(t *testing.T, body string) int {
	t.Helper()
	digits := strings.TrimSuffix(strings.TrimPrefix(body, `{"n" : `), "}")
	n, err := strconv.Atoi(digits)
	if err != nil || body != numbered(n) {
		t.Fatalf("%s has no number: %v", body, err)
	}
	return n
}

func TestAnOutageWaitsInTheTable(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders"))
	relay := o.startStreaming(o.env...)
	o.write(1, 200)
	o.commit(event(t, "1", `{"other":true}`))
	o.awaitBody(`{"other":true}`)
	o.awaitState("deferred")
	o.write(201, 300)
	// The next report of the relay has the outage. Until then the deferral is a problem by itself.
	out := o.awaitStatus(1, " events wait in the outbox table: ", o.env...)
	if strings.Count(out, "next: ") != 1 {
		o.t.Errorf("the outage and its deferral are several problems:\n%s", out)
	}
	o.end()
	o.awaitAll(300)
	o.awaitState("")
	o.write(301, 320)
	if repeated := o.awaitAll(320); repeated > 0 {
		t.Errorf("%d events came twice", repeated)
	}
	if letters := o.deadLetters(); letters != "" {
		t.Errorf("dead letters: %s", letters)
	}
	if guard := o.query(`SELECT outbox_table FROM relay_checkpoints WHERE slot_name LIKE '% deferred'`); guard != "" {
		t.Errorf("the guard still names table %s", guard)
	}
	relay.stop()
}
