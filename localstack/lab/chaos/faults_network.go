package chaos

import (
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/localstack/testing/faultproxy"
)

// networkFaults disturb the connections between relays and Postgres.
var networkFaults = []fault{
	{name: "network: reset", weight: 3, repeats: true, do: onNetwork((*faultproxy.Network).Reset)},
	{name: "network: half-open", weight: 3, repeats: true, do: onNetwork((*faultproxy.Network).HalfOpen)},
	{name: "network: forgotten", weight: 2, repeats: true, do: onNetwork((*faultproxy.Network).Forget)},
	{name: "network: silent", weight: 3, repeats: true, do: forAWhile(func(_ *act, n *faultproxy.Network) {
		n.Silence()
	})},
	{name: "network: server not heard", weight: 2, repeats: true, do: forAWhile(func(_ *act, n *faultproxy.Network) {
		n.Silence(faultproxy.Server)
	})},
	{name: "network: relay not heard", weight: 2, repeats: true, do: forAWhile(func(_ *act, n *faultproxy.Network) {
		n.Silence(faultproxy.Client)
	})},
	{name: "network: slow", weight: 3, repeats: true, do: forAWhile(slow)},
	{name: "network: cut off", weight: 4, repeats: true, needs: twoRelays, do: cutOff},
}

func twoRelays(p *Plan) bool { return p.Relays > 1 }

// networks returns the holder's network, or sometimes those of all relays.
func (a *act) networks() []*faultproxy.Network {
	p := a.relays.holder()
	if p != nil && a.random.IntN(3) > 0 {
		return []*faultproxy.Network{a.links[p.place].network}
	}
	var all []*faultproxy.Network
	for _, w := range a.links {
		all = append(all, w.network)
	}
	return all
}

// onNetwork applies a fault to established connections. New connections work.
func onNetwork(do func(*faultproxy.Network)) func(context.Context, *act) error {
	return func(_ context.Context, a *act) error {
		for _, n := range a.networks() {
			do(n)
		}
		return nil
	}
}

// forAWhile disturbs networks for a random time, which is shorter or longer than the timeouts of
// both sides.
func forAWhile(do func(*act, *faultproxy.Network)) func(context.Context, *act) error {
	return func(ctx context.Context, a *act) error {
		for _, n := range a.networks() {
			do(a, n)
			defer n.Mend()
		}
		pause(ctx, 100*time.Millisecond+a.within(a.plan.SenderTimeout*3/2))
		return nil
	}
}

func slow(a *act, n *faultproxy.Network) {
	n.Slow(faultproxy.Pace{
		Delay:          time.Millisecond + a.within(60*time.Millisecond),
		BytesPerSecond: 50_000 + a.random.IntN(1_000_000),
	})
}

// cutOff isolates the holder with events in its memory and a working broker. The holder cannot
// learn that another relay has acquired the slot.
func cutOff(ctx context.Context, a *act) error {
	p := a.relays.holder()
	if p == nil {
		return nil
	}
	throttled := a.broker.Script(fakeaws.Match{}, fakeaws.Throttle())
	defer throttled.Clear()
	pause(ctx, 300*time.Millisecond)
	between := a.links[p.place].network
	between.Silence()
	defer between.Mend()
	a.deposed(ctx, p)
	throttled.Clear()
	pause(ctx, time.Second)
	return nil
}
