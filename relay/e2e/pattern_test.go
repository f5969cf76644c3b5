package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// patterned is a test environment whose events go to a queue by their column topic.
type patterned struct {
	*testEnv
	queues map[string]fakeaws.Queue // by topic
	env    []string
}

const sqsPrefix = "arn:aws:sqs:us-east-1:000000000000:"

// newPatterned allows the queues of these topics, and creates none.
func newPatterned(t *testing.T, w *testEnv, topics ...string) *patterned {
	t.Helper()
	w.exec(`ALTER TABLE outbox_events ADD COLUMN topic text`)
	return &patterned{testEnv: w, queues: map[string]fakeaws.Queue{}, env: []string{
		"RELAY_ROUTES=event:*=" + sqsPrefix + "${topic}.fifo",
		"RELAY_ALLOWED_DESTINATIONS=" + sqsPrefix + "{" + strings.Join(topics, ",") + "}.fifo",
		"RELAY_RETRY_MAX=300ms",
	}}
}

func (p *patterned) create(topic string) {
	p.t.Helper()
	q, err := p.broker.CreateQueue(topic+".fifo", nil)
	p.must(err)
	p.queues[topic] = q
}

// writeTopics writes rounds of one event each of 200 aggregates, spread over 20 topics.
func (p *patterned) writeTopics(first, last int) {
	p.t.Helper()
	for round := first; round <= last; round++ {
		p.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, topic)
			SELECT gen_random_uuid(), 'order', i::text, 't', json_build_object('n', $1::int), 't' || i % 20
			FROM generate_series(0, 199) AS i`, round)
	}
}

// arrivedAt returns how many different events each topic has, and checks that the first deliveries
// of each aggregate are in order.
func (p *patterned) arrivedAt() map[string]int {
	p.t.Helper()
	all := map[string]int{}
	for topic, queue := range p.queues {
		last := map[string]int{}
		for _, r := range p.broker.Received(queue.ARN) {
			n := number0(p.t, r.Body)
			if n <= last[r.GroupID] {
				continue // a repetition
			}
			if n != last[r.GroupID]+1 {
				p.t.Errorf("%s: %s has event %d after %d", topic, r.GroupID, n, last[r.GroupID])
			}
			last[r.GroupID] = n
			all[topic]++
		}
	}
	return all
}

// awaitTopics waits until each of these topics has n events.
func (p *patterned) awaitTopics(n int, topics ...string) {
	p.t.Helper()
	p.eventually(fmt.Sprintf("%d topics have %d events each", len(topics), n), func() bool {
		arrived := p.arrivedAt()
		for _, topic := range topics {
			if arrived[topic] < n {
				return false
			}
		}
		return true
	})
}

// TestAPatternFeedsTwentyDestinations: one does not exist, one is unavailable and one is not
// allowed, and the relay is killed in the midst. The others get everything meanwhile, and each
// aggregate keeps its order.
func TestAPatternFeedsTwentyDestinations(t *testing.T) {
	t.Parallel()
	var topics []string
	for i := range 20 {
		topics = append(topics, fmt.Sprintf("t%d", i))
	}
	p := newPatterned(t, newTestEnv(t, "orders.fifo"), topics[:19]...) // t19 is not allowed
	for _, topic := range topics[:18] {                                // t18 does not exist
		p.create(topic)
	}
	down := p.broker.Script(fakeaws.Match{Action: "SendMessageBatch", Destination: "t17.fifo"}, fakeaws.Missing())
	env := slices.Concat(p.env, []string{"RELAY_PARK_AFTER=1s", "RELAY_WINDOW_EVENTS=500", "RELAY_ON_REJECTED=park"})
	relay := p.startStreaming(env...)
	p.writeTopics(1, 3)
	p.awaitTopics(10, topics[:17]...)
	relay.kill()
	p.writeTopics(4, 6)
	relay = p.startStreaming(env...)
	p.writeTopics(7, 10)
	p.awaitTopics(100, topics[:17]...)
	for _, missing := range []string{"t17.fifo", "t18.fifo"} {
		p.eventually(missing+" is deferred", func() bool {
			return p.query(`SELECT destination FROM outbox_deferrals WHERE destination LIKE '%' || $1`, missing) != ""
		})
	}
	p.eventually("the status shows them", func() bool {
		output, _ := p.command(env, "status")
		return strings.Contains(output, "UnknownDestination") && strings.Contains(output, "t18.fifo unavailable")
	})
	relay.awaitLog("event=destination_unknown")
	p.create("t18")
	down.Clear()
	p.awaitTopics(100, topics[:19]...)
	for topic, n := range p.arrivedAt() {
		if n != 100 {
			t.Errorf("%d events of %s arrived", n, topic)
		}
	}
	p.eventually("the events of the topic that is not allowed are parked", func() bool {
		return p.query(`SELECT count(*)::text FROM outbox_dead_letters WHERE code = 'UnknownDestination'
			AND destination LIKE '%orders.fifo' AND state = 'parked'`) == "100"
	})
	const others = `SELECT count(*)::text FROM outbox_dead_letters WHERE code <> 'UnknownDestination'`
	if n := p.query(others); n != "0" {
		t.Errorf("%s other dead letters: %s", n, p.deadLetters())
	}
	if got := p.broker.Received(p.queue.ARN); len(got) != 0 {
		t.Errorf("%d events arrived at the default destination", len(got))
	}
}

// TestThePatternReadsTheTableToo: after the loss of the slot, and in a replay. Unknown destinations
// go to the default, and a discarded dead letter is replayed to the destination that is allowed
// then.
func TestThePatternReadsTheTableToo(t *testing.T) {
	t.Parallel()
	p := newPatterned(t, newTestEnv(t, "orders.fifo"), "a", "b")
	p.create("a")
	p.create("b")
	write := func(n int, topic any) {
		p.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, topic)
			VALUES (gen_random_uuid(), 'order', '1', 't', json_build_object('n', $1::int), $2)`, n, topic)
	}
	listen := freeAddress(t)
	env := slices.Concat(p.env, []string{"RELAY_UNKNOWN_DESTINATION=default", "RELAY_LISTEN=" + listen})
	relay := p.startStreaming(env...)
	write(1, "a")
	write(2, nil)
	write(3, "c")
	write(4, "../b")
	for _, n := range []int{2, 3, 4} {
		p.awaitBody(numbered(n))
	}
	p.awaitDelivered()
	if _, metrics := p.get("http://" + listen + "/metrics"); !strings.Contains(metrics,
		`relay_events_unrouted_total{outcome="default"} 3`) {
		t.Errorf("the unknown destinations are not counted")
	}
	relay.kill()
	p.dropSlot()
	write(5, "b")
	relay = p.startStreaming(p.env...) // which parks
	p.eventually("the event that only the table has arrives", func() bool {
		return len(p.broker.Received(p.queues["b"].ARN)) == 1
	})
	write(6, "c")
	p.eventually("the event is parked", func() bool {
		return p.query(`SELECT code FROM outbox_dead_letters`) == "UnknownDestination"
	})
	relay.stop()
	p.create("c")
	allowed := "RELAY_ALLOWED_DESTINATIONS=" + sqsPrefix + "{a,b,c}.fifo"
	p.startStreaming(append(p.env, allowed)...)
	p.awaitDelivered()
	id := p.query(`SELECT id::text FROM outbox_events WHERE topic = 'c' ORDER BY seq DESC LIMIT 1`)
	if output, err := p.command(env, "dead-letters", "discard", "--all"); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	first := p.query(`SELECT id::text FROM outbox_events ORDER BY seq LIMIT 1`)
	output, err := p.command(append(p.env, allowed), "replay", "--event-id", id, "--event-id", first, "--yes")
	if err != nil || !strings.Contains(output, "by the pattern "+sqsPrefix+"${topic}.fifo") {
		t.Fatalf("%v: %s", err, output)
	}
	for topic, want := range map[string]int{"a": 2, "b": 1, "c": 1} {
		if got := len(p.broker.Received(p.queues[topic].ARN)); got != want {
			t.Errorf("%d events arrived at %s, want %d", got, topic, want)
		}
	}
}

// TestADeferralKeepsTheColumnOfItsPattern: by other routes, the events that wait could not be told
// from others.
func TestADeferralKeepsTheColumnOfItsPattern(t *testing.T) {
	t.Parallel()
	p := newPatterned(t, newTestEnv(t, "orders"), "a", "b")
	p.create("a")
	env := slices.Concat(p.env, []string{"RELAY_PARK_AFTER=500ms"})
	relay := p.startStreaming(env...)
	p.exec(`INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, topic)
		SELECT gen_random_uuid(), 'order', '1', 't', json_build_object('n', i), CASE i % 2 WHEN 0 THEN 'a' ELSE 'b' END
		FROM generate_series(1, 20) AS i`)
	p.eventually("b is deferred", func() bool { return p.query(`SELECT state FROM outbox_deferrals`) == "deferred" })
	relay.kill()
	other := p.start("RELAY_PARK_AFTER=500ms")
	if err := other.wait(); err == nil || !strings.Contains(other.log.String(), "restore the pattern in RELAY_ROUTES") {
		t.Errorf("%v: the relay does not say that the pattern is needed", err)
	}
	p.create("b")
	p.startStreaming(append(env, "RELAY_ROUTES=event:t=none;event:*="+sqsPrefix+"${topic}.fifo")...)
	p.eventually("the deferral ends", func() bool { return p.query(`SELECT state FROM outbox_deferrals`) == "" })
	if got := len(p.broker.Received(p.queues["b"].ARN)); got != 0 {
		t.Errorf("%d dropped events arrived", got)
	}
}
