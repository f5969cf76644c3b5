// Package tour shows how the relay behaves in faults: it starts a Postgres, a broker and two relays
// under a small load, injects one fault after the other, and says where to look and how the relay
// reacted. At the end it compares the written events with the accepted ones. The chaos machine
// injects the same faults, and more, at random times and without a word.
package tour

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Options of a tour.
type Options struct {
	Dir      string // of the server's data and the logs; removed and created again
	CacheDir string // of server binaries
	Relay    string // binary of the relay
	Ports    [2]int // of the pages of the two relays
	// Next is called before each step, and returns once the reader wants to see it. An error ends
	// the tour. Nil waits for no reader.
	Next     func(context.Context) error
	Pictures string // folder for pictures of the page, which need a browser; empty: none
	Out      io.Writer
}

// step is one fault. play injects it, awaits the reaction, withdraws it and awaits the recovery. It
// returns the reaction in one sentence. An error says which reaction did not come.
type step struct {
	title string
	look  string
	play  func(*stage, context.Context) (string, error)
}

var steps = []step{
	{
		"A destination is unavailable",
		"the page, or relay status: billing.fifo is unavailable, its events wait in the outbox table, and those for " +
			"orders.fifo arrive as before",
		(*stage).loseDestination,
	},
	{
		"The replication slot is dropped",
		"relay status: the last gap, its reason, and when it was repaired",
		(*stage).dropSlot,
	},
	{
		"The streaming relay is killed beside its standby",
		"relay status: the other relay streams, and this one becomes silent",
		(*stage).killRelay,
	},
	{
		"The broker refuses an event",
		"relay dead-letters list: the refused event with its reason; those of other aggregates arrive",
		(*stage).refuseEvent,
	},
	{
		"An aggregate is far behind",
		"relay status: the events of that aggregate wait in the table, and no other aggregate does",
		(*stage).floodAggregate,
	},
	{
		"An event is longer than a message",
		"the page: its event counts as delivered like any other, and the bucket large-events has its payload",
		(*stage).sendLarge,
	},
}

// Run plays every step. Its error says which promise did not hold.
func Run(ctx context.Context, o Options) error {
	s, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	s.say("two relays share the slot outbox_relay: http://127.0.0.1:%d and http://127.0.0.1:%d show it as a page",
		o.Ports[0], o.Ports[1])
	s.say("%d events a second for %d aggregates go to orders.fifo and billing.fifo", perSecond, aggregates)
	for i, step := range steps {
		if o.Next != nil {
			if err := o.Next(ctx); err != nil {
				return err
			}
		}
		fmt.Fprintf(o.Out, "\n%d. %s\n", i+1, step.title)
		s.say("look at %s", step.look)
		reaction, err := step.play(s, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w; the logs are in %s", step.title, err, o.Dir)
		}
		s.say("%s", reaction)
	}
	fmt.Fprintln(o.Out)
	return s.conclude(ctx)
}

// conclude stops the load and compares the written events with those that arrived.
func (s *stage) conclude(ctx context.Context) error {
	s.load.stop()
	err := s.await(ctx, "every event has arrived", func() bool { return s.load.undelivered(nil) == 0 })
	if err != nil {
		return err
	}
	total, repeated, err := s.load.verdict()
	if err != nil {
		return err
	}
	s.say("%d events written, %d arrived, in the order of their aggregate, and none is lost; %d came a second "+
		"time, with the same id", total, total, repeated)
	return nil
}

func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.Out, "%6.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}
