package chaos

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// recorder records the writers' events, the faults and the operator's actions.
type recorder struct {
	clock func() time.Duration

	mu       sync.Mutex
	events   []checker.Event
	faults   []checker.Fault
	problems []string
	operator checker.Operator
}

// wrote records the events of one transaction with its outcome.
func (c *recorder) wrote(outcome checker.Outcome, events []checker.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range events {
		e.Outcome = outcome
		c.events = append(c.events, e)
	}
}

// began records the start of a fault, and returns a function that records its end. Until then the
// fault counts as active.
func (c *recorder) began(f checker.Fault) (ended func(change func(*checker.Fault))) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.From, f.To = c.clock(), checker.Unended
	i := len(c.faults)
	c.faults = append(c.faults, f)
	return func(change func(*checker.Fault)) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.faults[i].To = c.clock()
		if change != nil {
			change(&c.faults[i])
		}
	}
}

func (c *recorder) problem(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// into copies the record into h, with the faults in the order in which they began.
func (c *recorder) into(h *checker.History) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h.Events, h.Operator = slices.Clone(c.events), c.operator
	h.Problems = append(h.Problems, c.problems...)
	h.Faults = append(h.Faults, c.faults...)
	slices.SortStableFunc(h.Faults, func(a, b checker.Fault) int { return int(a.From - b.From) })
}

// noticed records a fault that is over.
func (c *recorder) noticed(f checker.Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, f)
}

// operated records an action of the operator.
func (c *recorder) operated(change func(*checker.Operator)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.operator)
}

// unsendable returns the ids of the events that no destination will ever accept.
func (c *recorder) unsendable() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := []string{}
	for _, e := range c.events {
		if e.Poison && !e.Repairable {
			ids = append(ids, e.ID)
		}
	}
	return ids
}
