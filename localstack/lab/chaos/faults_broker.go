package chaos

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// brokerFaults disturb the requests to the broker for a while: at the broker, on the way to it, or
// by their credentials.
var brokerFaults = slices.Concat(serviceFaults, quotaFaults, proxyFaults, credentialFaults)

// serviceFaults are failures of the broker itself. A fault that hides an acceptance may cause
// repetitions.
var serviceFaults = []fault{
	serviceFault("broker: throttled", false, fakeaws.Throttle),
	serviceFault("broker: KMS throttled", false, fakeaws.ThrottleKMS),
	serviceFault("broker: access denied", false, fakeaws.DenyAccess),
	serviceFault("broker: destination missing", false, fakeaws.Missing),
	serviceFault("broker: unavailable", false, fakeaws.Unavailable),
	serviceFault("broker: reset", false, fakeaws.Reset),
	serviceFault("broker: hang", false, fakeaws.Hang),
	serviceFault("broker: slow", false, func() fakeaws.Fault { return fakeaws.Delay(100 * time.Millisecond) }),
	partialFault("broker: entries failed", func() fakeaws.Fault {
		return fakeaws.FailEntries("InternalError", "try again", false)
	}),
	partialFault("broker: entries throttled", func() fakeaws.Fault {
		return fakeaws.FailEntries("ThrottlingException", "try again", true)
	}),
	serviceFault("broker: hang after accept", true, fakeaws.HangAfterAccept),
	serviceFault("broker: answer lost", true, fakeaws.LoseAnswer),
	serviceFault("broker: answer broken", true, func() fakeaws.Fault { return fakeaws.BreakAnswer(40) }),
	serviceFault("broker: answer truncated", true, func() fakeaws.Fault { return fakeaws.TruncateAnswer(60) }),
	serviceFault("broker: answer endless", true, fakeaws.EndlessAnswer),
	serviceFault("broker: wrong checksum", true, fakeaws.WrongMD5),
	serviceFault("broker: entries omitted", true, fakeaws.OmitEntries),
	serviceFault("broker: entries repeated", true, fakeaws.RepeatEntries),
	serviceFault("broker: entries renamed", true, fakeaws.RenameEntries),
	{name: "broker: one destination unavailable for long", weight: 12, needs: parks, do: unavailableForLong},
	{name: "broker: bucket refused", weight: 12, needs: hasBucket, do: refuseBucket},
	{name: "broker: event bus unavailable", weight: 12, needs: hasBus, do: refuseBus},
	{name: "busy aggregate", weight: 6, do: busyAggregate},
}

// partialFault is a service fault in which requests fail in part.
func partialFault(name string, newFault func() fakeaws.Fault) fault {
	f := serviceFault(name, false, newFault)
	f.partial = true
	return f
}

// unavailableForLong makes a destination refuse every request until its events are parked, or wait
// in the table.
func unavailableForLong(ctx context.Context, a *act) error {
	d := a.destinations[a.random.IntN(len(a.destinations))]
	outage := a.broker.Script(fakeaws.Match{Destination: nameOf(d.arn)}, fakeaws.Missing())
	defer outage.Clear()
	pause(ctx, a.plan.ParkAfter+500*time.Millisecond+a.within(time.Second))
	return nil
}

// refuseBus makes the service of the event buses fail, and no other one.
func refuseBus(ctx context.Context, a *act) error {
	outage := a.broker.Script(fakeaws.Match{Action: "PutEvents"}, fakeaws.Unavailable())
	defer outage.Clear()
	pause(ctx, a.plan.ParkAfter+300*time.Millisecond+a.within(2*time.Second))
	return nil
}

// busyAggregate writes events of one aggregate much faster than a slow broker takes them one after
// the other, so that they use up the share of the aggregate.
func busyAggregate(ctx context.Context, a *act) error {
	slow := a.broker.Script(fakeaws.Match{}, fakeaws.Delay(15*time.Millisecond))
	defer slow.Clear()
	all := a.aggregates()
	busy := all[a.random.IntN(len(all))]
	w := &writer{run: a.run, random: a.random}
	for range 3 {
		w.transaction(ctx, 100, []aggregate{busy})
	}
	pause(ctx, time.Second+a.within(time.Second))
	return nil
}

func serviceFault(name string, repeats bool, newFault func() fakeaws.Fault) fault {
	return scriptedFault(name, repeats, (*act).match, func(*act) fakeaws.Fault { return newFault() })
}

// scriptedFault returns a fault of the requests that match selects.
func scriptedFault(name string, repeats bool, match func(*act) fakeaws.Match, newFault func(*act) fakeaws.Fault) fault {
	return fault{name: name, weight: 2, repeats: repeats, hides: repeats, do: func(ctx context.Context, a *act) error {
		rule := a.broker.Script(match(a), newFault(a))
		defer rule.Clear()
		pause(ctx, 200*time.Millisecond+a.within(time.Second))
		if rule.Hits() == 0 {
			a.note = func(f *checker.Fault) { missed(f); f.Repeats = false }
		}
		return nil
	}}
}

// match selects every request, the requests to one destination, or the requests with some messages.
func (a *act) match() fakeaws.Match {
	switch a.random.IntN(3) {
	case 0:
		return fakeaws.Match{}
	case 1:
		d := a.destinations[a.random.IntN(len(a.destinations))]
		return fakeaws.Match{Destination: nameOf(d.arn)}
	}
	share := 1 + a.random.IntN(3)
	// a new choice at each attempt
	return fakeaws.Match{Entry: func(*fakeaws.Message) bool { return rand.IntN(4) < share }}
}
