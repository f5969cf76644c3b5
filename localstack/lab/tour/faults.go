package tour

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// loseDestination makes one of the two queues unavailable until its events wait in the table.
func (s *stage) loseDestination(ctx context.Context) (string, error) {
	fault := s.broker.Script(fakeaws.Match{Destination: "billing.fifo"}, fakeaws.Unavailable())
	defer fault.Clear()
	began := time.Now()
	_, err := s.awaitStatus(ctx, "the events for billing.fifo wait in the outbox table", func(now status) bool {
		return len(now.Deferrals) > 0 && now.Deferrals[0].Events > 0
	})
	if err != nil {
		return "", err
	}
	if err := s.showStatus(ctx, "unavailable", "destinations"); err != nil {
		return "", err
	}
	waiting := s.load.undelivered(nil)
	others := s.load.longestWait(began, "")
	fault.Clear()
	returned := time.Now()
	_, err = s.awaitStatus(ctx, "no event waits in the outbox table", func(now status) bool {
		return len(now.Deferrals) == 0
	})
	return fmt.Sprintf("%d events waited, as one row of outbox_deferrals. All had arrived %s after the queue was "+
		"back. No event for orders.fifo waited longer than %s",
		waiting, rounded(time.Since(returned)), rounded(others)), err
}

// dropSlot drops the replication slot while a relay streams it, and so loses its position in the
// log.
func (s *stage) dropSlot(ctx context.Context) (string, error) {
	began := time.Now()
	err := s.await(ctx, "the slot is dropped", func() bool {
		_ = s.exec(ctx, `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active`)
		return s.exec(ctx, `SELECT pg_drop_replication_slot('outbox_relay')`) == nil
	})
	if err != nil {
		return "", err
	}
	now, err := s.awaitStatus(ctx, "the gap is repaired from the table", func(now status) bool {
		return now.LastGap != nil && now.LastGap.RepairedAt != nil && s.streaming(ctx) >= 0
	})
	if err != nil {
		return "", err
	}
	if err := s.showStatus(ctx, "slot-lost", "slot"); err != nil {
		return "", err
	}
	return fmt.Sprintf("the relay found the gap (%s), made a new slot, published the missing events from the table "+
		"and streams again, %s after the slot was dropped", now.LastGap.Reason, rounded(time.Since(began))), nil
}

// killRelay kills the relay that streams.
func (s *stage) killRelay(ctx context.Context) (string, error) {
	victim := s.streaming(ctx)
	if victim < 0 {
		return "", errors.New("no relay streams")
	}
	other := 1 - victim
	began := time.Now()
	s.relays[victim].kill()
	err := s.await(ctx, "the standby streams", func() bool { return s.readiness(ctx, other) == "streaming" })
	if err != nil {
		return "", err
	}
	took := time.Since(began)
	if err := s.startRelay(victim); err != nil {
		return "", err
	}
	err = s.await(ctx, "the killed relay is back as the standby", func() bool {
		return s.readiness(ctx, victim) == "standby"
	})
	return fmt.Sprintf("relay %d streamed %s after relay %d was killed. Started again, relay %[3]d stands by",
		other+1, rounded(took), victim+1), err
}

// poisoned is the aggregate with an event that the broker refuses.
const poisoned = "customer-poisoned"

// refuseEvent has the broker refuse the first event of an aggregate, and redrives it afterwards.
func (s *stage) refuseEvent(ctx context.Context) (string, error) {
	refusal := s.broker.Script(fakeaws.Match{Entry: func(m *fakeaws.Message) bool {
		return m.GroupID != "" && strings.Contains(m.GroupID, poisoned) && strings.Contains(m.Body, `"number":1}`)
	}}, fakeaws.FailEntries("InvalidMessageContents", "The message contains a character that is not allowed.", true))
	defer refusal.Clear()
	if err := s.writeAll(ctx, poisoned, make([]int, 5)...); err != nil {
		return "", err
	}
	_, err := s.awaitStatus(ctx, "the refused event is a dead letter", func(now status) bool {
		return len(now.DeadLetters) > 0
	})
	if err != nil {
		return "", err
	}
	if err := s.show(ctx, "dead-letters", "list"); err != nil {
		return "", err
	}
	refusal.Clear()
	if err := s.show(ctx, "dead-letters", "redrive", "--all"); err != nil {
		return "", err
	}
	err = s.await(ctx, "the refused event and those behind it have arrived", func() bool {
		return s.load.undelivered(func(aggregate string) bool { return aggregate == poisoned }) == 0
	})
	return "once the broker accepted it, a redrive sent the event, and then those that waited behind it, in order", err
}

// busy is the aggregate with more events than one message group can carry.
const busy = "customer-busy"

// floodAggregate commits many events of one aggregate at once, at a broker that needs 15 ms for a
// request: a message group then gets at most 66 events a second.
func (s *stage) floodAggregate(ctx context.Context) (string, error) {
	const events = 1000
	slow := s.broker.Script(fakeaws.Match{}, fakeaws.Delay(15*time.Millisecond))
	defer slow.Clear()
	began := time.Now()
	if err := s.writeAll(ctx, busy, make([]int, events)...); err != nil {
		return "", err
	}
	_, err := s.awaitStatus(ctx, "the events of the busy aggregate wait in the outbox table", func(now status) bool {
		return len(now.Deferrals) > 0 && now.Deferrals[0].Aggregates > 0 && now.Deferrals[0].Events > 0
	})
	if err != nil {
		return "", err
	}
	if err := s.showStatus(ctx, "busy", "destinations"); err != nil {
		return "", err
	}
	err = s.await(ctx, "the events of the busy aggregate have arrived", func() bool {
		return s.load.undelivered(func(aggregate string) bool { return aggregate == busy }) == 0
	})
	return fmt.Sprintf("%d events of one aggregate took %s. No event of another aggregate waited longer than %s",
		events, rounded(time.Since(began)), rounded(s.load.longestWait(began, busy))), err
}

// large is the aggregate with an event that is longer than a message, and largeBucket has its body.
const (
	large       = "customer-large"
	largeBucket = "large-events"
)

// sendLarge commits an event that no message can hold between two small ones of its aggregate.
func (s *stage) sendLarge(ctx context.Context) (string, error) {
	began := time.Now()
	if err := s.writeAll(ctx, large, 0, 2<<20, 0); err != nil {
		return "", err
	}
	err := s.await(ctx, "the large event and the one behind it have arrived", func() bool {
		return s.load.undelivered(func(aggregate string) bool { return aggregate == large }) == 0
	})
	if err != nil {
		return "", err
	}
	took, pointer := time.Since(began), s.load.lastPointer()
	if pointer == "" {
		return "", errors.New("no message points to the large event")
	}
	fmt.Fprintf(s.Out, "\n    the message of the large event, whose consumer reads the object:\n    %s\n\n", pointer)
	return fmt.Sprintf("an event of 2 MiB arrived between two small ones of its aggregate within %s. No event of "+
		"another aggregate waited longer than %s", rounded(took), rounded(s.load.longestWait(began, large))), nil
}

// writeAll commits the next events of an aggregate in one transaction of a new connection. Each
// event has a text of as many bytes as its argument says.
func (s *stage) writeAll(ctx context.Context, aggregate string, bytes ...int) error {
	conn, err := pgx.Connect(ctx, s.databaseURL())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return s.load.write(ctx, conn, aggregate, "order.changed", bytes...)
}

func rounded(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}
