package delivery

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// gatherTime is how long a batch that is not full waits for more events while they arrive fast
// enough to fill it within that time. Full batches need a tenth of the requests, and of the time
// that requests cost.
const gatherTime = time.Millisecond

// burstDetector decides how long a batch that is not full waits for more events. The scheduler
// reports each event that a batch could hold when it arrives. An event behind another one of its
// message group on a FIFO destination fills no batch, so it is not reported.
//
// There are two reasons to wait. The events are old because they belong to a backlog, so that they
// have time: see Event.Gather. Or they are new and come in a burst, ten within gatherTime.
type burstDetector struct {
	burst  bool          // the last ten came within gatherTime, and none since paused for longer
	last   time.Time     // when the newest event arrived
	began  time.Time     // when the first of the next ten events arrived
	few    int           // how many of these ten have arrived
	gather time.Duration // Event.Gather of the newest event
}

func (d *burstDetector) add(now time.Time, gather time.Duration) {
	if now.Sub(d.last) > gatherTime {
		d.burst, d.few = false, 0
	}
	d.gather = gather
	if d.last = now; d.few == 0 {
		d.began = now
	}
	if d.few++; d.few == sink.MaxBatch {
		d.burst, d.few = now.Sub(d.began) <= gatherTime, 0
	}
}

// wait returns how long a batch that is not full waits for more events. It returns zero once no
// event has arrived for that long.
func (d *burstDetector) wait(now time.Time) time.Duration {
	wait := d.gather
	if d.burst {
		wait = max(wait, gatherTime)
	}
	if now.Sub(d.last) > wait {
		return 0
	}
	return wait
}
