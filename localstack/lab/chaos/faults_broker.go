package chaos

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// weathers are what happens at the broker, or on the way to it, for a while.
var weathers = slices.Concat(brokerFaults, quotas, proxies, roleFaults)

// brokerFaults are what the broker does. Those that may have accepted what they do not admit bring repetitions.
var brokerFaults = []fault{
	weather("broker: throttled", false, fakeaws.Throttle),
	weather("broker: KMS throttled", false, fakeaws.ThrottleKMS),
	weather("broker: access denied", false, fakeaws.DenyAccess),
	weather("broker: destination missing", false, fakeaws.Missing),
	weather("broker: unavailable", false, fakeaws.Unavailable),
	weather("broker: reset", false, fakeaws.Reset),
	weather("broker: hang", false, fakeaws.Hang),
	weather("broker: slow", false, func() fakeaws.Fault { return fakeaws.Delay(100 * time.Millisecond) }),
	partly("broker: entries failed", func() fakeaws.Fault { return fakeaws.FailEntries("InternalError", "try again", false) }),
	partly("broker: entries throttled", func() fakeaws.Fault { return fakeaws.FailEntries("ThrottlingException", "try again", true) }),
	weather("broker: hang after accept", true, fakeaws.HangAfterAccept),
	weather("broker: answer lost", true, fakeaws.LoseAnswer),
	weather("broker: answer broken", true, func() fakeaws.Fault { return fakeaws.BreakAnswer(40) }),
	weather("broker: answer truncated", true, func() fakeaws.Fault { return fakeaws.TruncateAnswer(60) }),
	weather("broker: answer endless", true, fakeaws.EndlessAnswer),
	weather("broker: wrong checksum", true, fakeaws.WrongMD5),
	weather("broker: entries omitted", true, fakeaws.OmitEntries),
	weather("broker: entries repeated", true, fakeaws.RepeatEntries),
	weather("broker: entries renamed", true, fakeaws.RenameEntries),
	{name: "broker: one destination away for long", weight: 12, needs: func(p *Plan) bool { return p.ParkAfter > 0 }, do: awayForLong},
}

// partly is a weather in which requests fail in part.
func partly(name string, what func() fakeaws.Fault) fault {
	f := weather(name, false, what)
	f.partial = true
	return f
}

// awayForLong has a destination take nothing until its events are parked.
func awayForLong(ctx context.Context, a *act) error {
	d := a.destinations[a.random.IntN(len(a.destinations))]
	away := a.broker.Script(fakeaws.Match{Destination: nameOf(d.arn)}, fakeaws.Missing())
	defer away.Clear()
	pause(ctx, a.plan.ParkAfter+500*time.Millisecond+a.within(time.Second))
	return nil
}

func weather(name string, repeats bool, what func() fakeaws.Fault) fault {
	return weatherFor(name, repeats, (*act).match, func(*act) fakeaws.Fault { return what() })
}

// weatherFor is a weather of the requests that match picks.
func weatherFor(name string, repeats bool, match func(*act) fakeaws.Match, what func(*act) fakeaws.Fault) fault {
	return fault{name: name, weight: 2, repeats: repeats, hides: repeats, do: func(ctx context.Context, a *act) error {
		rule := a.broker.Script(match(a), what(a))
		defer rule.Clear()
		pause(ctx, 200*time.Millisecond+a.within(time.Second))
		if rule.Hits() == 0 {
			a.note = func(f *checker.Fault) { missed(f); f.Repeats = false }
		}
		return nil
	}}
}

// match picks every request, those of one destination, or those with some of the messages.
func (a *act) match() fakeaws.Match {
	switch a.random.IntN(3) {
	case 0:
		return fakeaws.Match{}
	case 1:
		d := a.destinations[a.random.IntN(len(a.destinations))]
		return fakeaws.Match{Destination: nameOf(d.arn)}
	}
	share := 1 + a.random.IntN(3)
	return fakeaws.Match{Entry: func(*fakeaws.Message) bool { return rand.IntN(4) < share }} // another choice at each attempt
}
