package queue

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model checks the consumer's view of a FIFO queue.
type model struct {
	q        *clocked
	sent     map[string][]string // group -> bodies that are not deleted, in order
	inFlight map[string]Delivery // body -> its last receipt
	until    map[string]time.Time
}

// TestFIFOOrderHoldsWhateverTheConsumerDoes: the messages of a group arrive in order, without gaps,
// and never twice at the same time.
func TestFIFOOrderHoldsWhateverTheConsumerDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			newClocked(Settings{FIFO: true}, 0),
			map[string][]string{},
			map[string]Delivery{},
			map[string]time.Time{},
		}
		next := 0
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				group := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "group")
				next++
				m.q.send(group, strconv.Itoa(next))
				m.sent[group] = append(m.sent[group], strconv.Itoa(next))
			},
			"receive": func(t *rapid.T) { m.receive(t, rapid.IntRange(1, 10).Draw(t, "max")) },
			"delete":  m.delete,
			"change":  m.change,
			"wait": func(t *rapid.T) {
				m.q.now = m.q.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
				m.expire()
			},
		})
	})
}

func (m *model) expire() {
	for body, until := range m.until {
		if !until.After(m.q.now) {
			delete(m.inFlight, body)
			delete(m.until, body)
		}
	}
}

func (m *model) locked(group string) bool {
	return slices.ContainsFunc(m.sent[group], func(body string) bool { _, ok := m.inFlight[body]; return ok })
}

func (m *model) receive(t *rapid.T, n int) {
	waiting := 0
	for group, bodies := range m.sent {
		if !m.locked(group) {
			waiting += len(bodies)
		}
	}
	want := map[string][]string{} // group -> the next expected bodies
	for group, bodies := range m.sent {
		if !m.locked(group) {
			want[group] = bodies
		}
	}
	got := m.q.receive(n)
	if len(got) != min(n, waiting) {
		t.Fatalf("received %d messages, want %d", len(got), min(n, waiting))
	}
	for _, d := range got {
		if len(want[d.GroupID]) == 0 || want[d.GroupID][0] != d.Body {
			t.Fatalf("received %s of group %s, want the first of %v", d.Body, d.GroupID, want[d.GroupID])
		}
		want[d.GroupID] = want[d.GroupID][1:]
		m.inFlight[d.Body], m.until[d.Body] = d, m.q.now.Add(30*time.Second)
	}
}

func (m *model) pick(t *rapid.T) Delivery {
	var bodies []string
	for body := range m.inFlight {
		bodies = append(bodies, body)
	}
	if len(bodies) == 0 {
		t.Skip("nothing is in flight")
	}
	slices.Sort(bodies)
	return m.inFlight[rapid.SampledFrom(bodies).Draw(t, "message")]
}

func (m *model) delete(t *rapid.T) {
	d := m.pick(t)
	if err := m.q.Delete(d.ReceiptHandle); err != nil {
		t.Fatal(err)
	}
	m.sent[d.GroupID] = slices.DeleteFunc(m.sent[d.GroupID], func(body string) bool { return body == d.Body })
	delete(m.inFlight, d.Body)
	delete(m.until, d.Body)
}

func (m *model) change(t *rapid.T) {
	d := m.pick(t)
	after := time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second
	if err := m.q.ChangeVisibility(d.ReceiptHandle, after); err != nil {
		t.Fatal(err)
	}
	m.until[d.Body] = m.q.now.Add(after)
	m.expire()
}
