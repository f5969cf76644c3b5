package delivery

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// gatherTime is how long a batch that is not full waits for more where events come fast enough to fill one in that time.
// Full batches take a tenth of the requests, and of the time for them.
const gatherTime = time.Millisecond

// arrivals decides how long a batch that is not full waits for more. It is told of the events that a batch could take
// as they arrive: one behind another of its message group on a FIFO destination fills no batch.
//
// There are two reasons to wait. The events are old, because a backlog is read, and have time: Event.Gather. Or they
// are new and come in a burst, ten within gatherTime.
type arrivals struct {
	burst  bool          // the last ten came within gatherTime, and none later than that after the one before
	last   time.Time     // when the newest came
	began  time.Time     // when the first of the next ten came
	few    int           // how many of these have come
	gather time.Duration // of the newest
}

func (a *arrivals) add(now time.Time, gather time.Duration) {
	if now.Sub(a.last) > gatherTime {
		a.burst, a.few = false, 0
	}
	a.gather = gather
	if a.last = now; a.few == 0 {
		a.began = now
	}
	if a.few++; a.few == sink.MaxBatch {
		a.burst, a.few = now.Sub(a.began) <= gatherTime, 0
	}
}

// wait returns how long a batch that is not full is to wait for more: nothing once no more have come for that long.
func (a *arrivals) wait(now time.Time) time.Duration {
	wait := a.gather
	if a.burst {
		wait = max(wait, gatherTime)
	}
	if now.Sub(a.last) > wait {
		return 0
	}
	return wait
}
