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

// fault is something that is done to a run.
type fault struct {
	name    string
	weight  int  // how often, against the others
	repeats bool // events that were accepted may come again
	hides   bool // events may be accepted without an answer that says so
	partial bool // requests fail in part
	skips   bool // the stream leaves events out, until a relay notices
	strands bool // undelivered events are in the log alone, and a recovery publishes the table first
	refuses bool // a relay may end, and say that an operator has to decide
	// identity says that who signs requests is at fault, and no destination: nothing may be parked because of it.
	identity bool
	// needsLog says that events of it are in the log alone: no fault of the same run may lose the log, or keep events out of
	// the stream.
	needsLog bool
	losesLog bool
	// needs reports whether a plan has a use for it; nil: every plan.
	needs func(*Plan) bool
	do    func(context.Context, *act) error
}

// act is one time that a fault is done.
type act struct {
	*run
	random *rand.Rand
	note   func(*checker.Fault) // what there is to say of it afterwards; may be nil
}

// missed notes that a fault did not come to what it was for.
func missed(f *checker.Fault) { f.Kind += " (missed)" }

// faults are done one after the other.
var faults = slices.Concat(processFaults, sessionFaults, networkFaults, slotFaults, publicationFaults, tableFaults, serverFaults, crashPoints, operations)

// processFaults are what happens to containers.
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
	a.fleet.kill(a.fleet.holder())
	pause(ctx, a.within(500*time.Millisecond))
	return a.fleet.startAll()
}

func killAll(ctx context.Context, a *act) error {
	for _, p := range a.fleet.running() {
		a.fleet.kill(p)
	}
	pause(ctx, a.within(700*time.Millisecond))
	return a.fleet.startAll()
}

// stopHolder stops cleanly. Only a relay that could not deliver everything in time may repeat events.
func stopHolder(ctx context.Context, a *act) error {
	drained, err := a.fleet.stop(a.fleet.holder())
	if err != nil {
		a.recorder.problem("%v", err)
	}
	a.note = func(f *checker.Fault) {
		if !drained {
			f.Kind, f.Repeats = "stop, not drained", true
		}
	}
	pause(ctx, a.within(300*time.Millisecond))
	return a.fleet.startAll()
}

// freeze stops the holder's clock, with events in its memory, for longer than the server waits for it.
func freeze(ctx context.Context, a *act) error {
	p := a.fleet.holder()
	if p == nil {
		return nil
	}
	away := a.broker.Script(fakeaws.Match{}, fakeaws.Throttle())
	pause(ctx, 300*time.Millisecond)
	p.signal(syscall.SIGSTOP)
	defer p.signal(syscall.SIGCONT)
	pause(ctx, a.plan.SenderTimeout+200*time.Millisecond)
	away.Clear()
	a.deposed(ctx, p)
	pause(ctx, a.within(500*time.Millisecond))
	return nil
}

// deposed waits until another relay has taken over from p, and notes that it has.
func (a *act) deposed(ctx context.Context, p *relay) {
	if !a.awaitSuccessor(ctx, p) {
		return
	}
	at := a.clock()
	a.note = func(f *checker.Fault) { f.Deposed, f.DeposedAt = p.name, at }
}

// awaitSuccessor waits until another relay has taken over from p.
func (a *act) awaitSuccessor(ctx context.Context, p *relay) bool {
	if a.plan.Relays == 1 {
		return false
	}
	return await(ctx, 2*a.plan.SenderTimeout+time.Second, func() bool {
		for _, other := range a.fleet.running() {
			if other != p && other.log.isStreaming() {
				return true
			}
		}
		return false
	})
}

// blink is a pause that the server does not notice; the relay's own lease may.
func blink(ctx context.Context, a *act) error {
	p := a.fleet.holder()
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

func terminate(which string) func(context.Context, *act) error {
	return func(ctx context.Context, a *act) error {
		return a.exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND usename LIKE 'relay%' AND `+which)
	}
}

// exec runs a statement as superuser. A server that was away a moment ago gets a second chance.
func (r *run) exec(ctx context.Context, sql string, args ...any) error {
	_, err := r.admin.Exec(ctx, sql, args...)
	for attempt := 0; err != nil && attempt < 3 && isConnectionError(err); attempt++ {
		r.admin.Reset()
		pause(ctx, 100*time.Millisecond)
		_, err = r.admin.Exec(ctx, sql, args...)
	}
	return err
}
