package chaos

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// recorder keeps what the writers wrote and what was done to the system.
type recorder struct {
	clock func() time.Duration

	mu       sync.Mutex
	events   []checker.Event
	faults   []checker.Fault
	problems []string
	operator checker.Operator
}

// wrote notes the events of one transaction with what became of it.
func (c *recorder) wrote(outcome checker.Outcome, events []checker.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range events {
		e.Outcome = outcome
		c.events = append(c.events, e)
	}
}

// began notes a fault, and returns what notes its end. Until then it counts as going on.
func (c *recorder) began(f checker.Fault) (ended func(change func(*checker.Fault))) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.From, f.To = c.clock(), time.Duration(1<<62)
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

// noticed notes something that is over.
func (c *recorder) noticed(f checker.Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, f)
}

// operated notes what a person did.
func (c *recorder) operated(change func(*checker.Operator)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.operator)
}

// unsendable returns the ids of the events that no destination will ever take.
func (c *recorder) unsendable() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := []string{}
	for _, e := range c.events {
		if e.Poison && !e.Mendable {
			ids = append(ids, e.ID)
		}
	}
	return ids
}
