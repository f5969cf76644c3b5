package delivery

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// gatherTime is how long a batch that is not full waits for more where events come fast enough to fill one in that time, as they
// do while a backlog is read: full batches take a tenth of the requests, and of the time for them.
const gatherTime = time.Millisecond

// arrivals tells whether events come so fast.
type arrivals struct {
	fast  bool      // the last batch of them came within gatherTime, and none later than that after the one before
	last  time.Time // when the newest came
	began time.Time // when the first of the next batch came
	few   int       // how many of it have come
}

func (a *arrivals) add(now time.Time) {
	if now.Sub(a.last) > gatherTime {
		a.fast, a.few = false, 0
	}
	if a.last = now; a.few == 0 {
		a.began = now
	}
	if a.few++; a.few == sink.MaxBatch {
		a.fast, a.few = now.Sub(a.began) <= gatherTime, 0
	}
}

// wait returns how long a batch that is not full is to wait for more.
func (a *arrivals) wait(now time.Time) time.Duration {
	if a.fast && now.Sub(a.last) <= gatherTime {
		return gatherTime
	}
	return 0
}
