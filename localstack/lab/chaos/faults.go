package chaos

import (
	"context"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// fault is one way to disturb a run.
type fault struct {
	name    string
	weight  int  // relative frequency
	repeats bool // accepted events may arrive again
	hides   bool // events may be accepted without an acknowledgement
	partial bool // requests may fail in part
	skips   bool // the stream omits events until a relay notices
	strands bool // undelivered events are only in the log, and a recovery publishes the table first
	// refuses is the finding with which a relay may end, because an operator has to undo the fault.
	refuses string
	// identity marks a fault of the credentials. No destination is at fault, so no event may be
	// parked.
	identity bool
	// needsLog marks a fault whose events are only in the log. No fault of the same run may lose
	// the log or omit events from the stream.
	needsLog bool
	losesLog bool
	// needs reports whether the fault suits a plan. Nil suits every plan.
	needs func(*Plan) bool
	do    func(context.Context, *act) error
}

// act is one injection of a fault.
type act struct {
	*run
	random *rand.Rand
	note   func(*checker.Fault) // amends the record of the fault afterwards; may be nil
}

// missed notes that a fault had no effect.
func missed(f *checker.Fault) { f.Kind += " (missed)" }

// faults are injected one after the other.
var faults = slices.Concat(processFaults, sessionFaults, networkFaults, slotFaults, publicationFaults, tableFaults,
	serverFaults, crashPoints, operations)

// processFaults stop and freeze the processes of relays.
var processFaults = []fault{
	{name: "kill", weight: 6, repeats: true, do: killHolder},
	{name: "kill all", weight: 2, repeats: true, do: killAll},
	{name: "stop", weight: 6, do: stopHolder},
	{name: "freeze", weight: 5, repeats: true, do: freeze},
	{name: "blink", weight: 2, repeats: true, do: blink},
}

// within returns a random time below d.
func (a *act) within(d time.Duration) time.Duration { return duration(a.random, d) }

func killHolder(ctx context.Context, a *act) error {
	a.relays.kill(a.relays.holder())
	pause(ctx, a.within(500*time.Millisecond))
	return a.relays.startAll()
}

func killAll(ctx context.Context, a *act) error {
	for _, p := range a.relays.running() {
		a.relays.kill(p)
	}
	pause(ctx, a.within(700*time.Millisecond))
	return a.relays.startAll()
}

// stopHolder stops the holder with SIGTERM. Events may repeat only if the relay could not deliver
// all of them within its drain timeout.
func stopHolder(ctx context.Context, a *act) error {
	drained, err := a.relays.stop(a.relays.holder())
	if err != nil {
		a.recorder.problem("%v", err)
	}
	a.note = func(f *checker.Fault) {
		if !drained {
			f.Kind, f.Repeats = "stop, not drained", true
		}
	}
	pause(ctx, a.within(300*time.Millisecond))
	return a.relays.startAll()
}

// freeze suspends the holder with events in its memory, for longer than wal_sender_timeout.
func freeze(ctx context.Context, a *act) error {
	p := a.relays.holder()
	if p == nil {
		return nil
	}
	throttled := a.broker.Script(fakeaws.Match{}, fakeaws.Throttle())
	pause(ctx, 300*time.Millisecond)
	p.signal(syscall.SIGSTOP)
	defer p.signal(syscall.SIGCONT)
	pause(ctx, a.plan.SenderTimeout+200*time.Millisecond)
	throttled.Clear()
	a.deposed(ctx, p)
	pause(ctx, a.within(500*time.Millisecond))
	return nil
}

// deposed waits until another relay has acquired the slot, and notes that time.
func (a *act) deposed(ctx context.Context, p *relay) {
	if !a.awaitSuccessor(ctx, p) {
		return
	}
	at := a.clock()
	a.note = func(f *checker.Fault) { f.Deposed, f.DeposedAt = p.name, at }
}

// awaitSuccessor waits until a relay other than p streams.
func (a *act) awaitSuccessor(ctx context.Context, p *relay) bool {
	if a.plan.Relays == 1 {
		return false
	}
	return await(ctx, 2*a.plan.SenderTimeout+time.Second, func() bool {
		for _, other := range a.relays.running() {
			if other != p && other.log.isStreaming() {
				return true
			}
		}
		return false
	})
}

// blink suspends the holder for less than wal_sender_timeout. Its lease may still expire.
func blink(ctx context.Context, a *act) error {
	p := a.relays.holder()
	if p == nil {
		return nil
	}
	p.signal(syscall.SIGSTOP)
	pause(ctx, a.within(a.plan.SenderTimeout))
	p.signal(syscall.SIGCONT)
	return nil
}

// sessionFaults cut connections.
var sessionFaults = []fault{
	{name: "walsender terminated", weight: 4, repeats: true, do: terminate(`backend_type = 'walsender'`)},
	{name: "control terminated", weight: 4, repeats: true, do: terminate(`backend_type <> 'walsender'`)},
}

func terminate(condition string) func(context.Context, *act) error {
	return func(ctx context.Context, a *act) error {
		return a.exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND usename LIKE 'relay%' AND `+condition)
	}
}

// exec runs a statement as superuser, with the names of the run's table. It retries after a lost
// connection.
func (r *run) exec(ctx context.Context, sql string, args ...any) error {
	sql = r.shape.sql(sql)
	_, err := r.admin.Exec(ctx, sql, args...)
	for attempt := 0; err != nil && attempt < 3 && isConnectionError(err); attempt++ {
		r.admin.Reset()
		pause(ctx, 100*time.Millisecond)
		_, err = r.admin.Exec(ctx, sql, args...)
	}
	return err
}
