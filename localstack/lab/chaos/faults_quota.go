package chaos

import (
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// quotaFaults limit the requests a second. The limits change while the relay adapts to them.
var quotaFaults = []fault{
	{name: "broker: quota that changes", weight: 4, do: changingQuota},
}

// changingQuota starts with a quota below the load. At random moments it halves or doubles the
// rate, limits the burst, or suspends the quota.
func changingQuota(ctx context.Context, a *act) error {
	rate, burst := 5+float64(a.random.IntN(60)), 1+float64(a.random.IntN(30))
	quota := fakeaws.NewQuota(rate, burst)
	limited := a.broker.Script(a.matchDestinations(), fakeaws.Limit(quota, a.random.IntN(2) == 0))
	defer limited.Clear()
	for range 2 + a.random.IntN(5) {
		pause(ctx, 50*time.Millisecond+a.within(700*time.Millisecond))
		switch a.random.IntN(4) {
		case 0:
			rate /= 2
		case 1:
			rate *= 2
		case 2:
			quota.Set(0, 0)
			continue
		default:
			burst = 1
		}
		quota.Set(rate, burst)
	}
	if quota.Refused() == 0 {
		a.note = missed
	}
	return nil
}

// matchDestinations selects every request, or the requests to one destination.
func (a *act) matchDestinations() fakeaws.Match {
	if a.random.IntN(2) == 0 {
		return fakeaws.Match{}
	}
	return fakeaws.Match{Destination: nameOf(a.destinations[a.random.IntN(len(a.destinations))].arn)}
}
