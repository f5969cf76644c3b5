package deferral

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/pgsnapshot"
)

// observed parses a snapshot of a memoryTable.
func observed(text string) pgsnapshot.Snapshot {
	s, err := pgsnapshot.Parse(text)
	if err != nil {
		panic(err)
	}
	return s
}

// tick is between two writes of a stream.
const tick = 10 * time.Millisecond

// run writes events of others for a while, or until the busy aggregate has joined the stream. It
// also writes events of that aggregate, at a share of the rate at which one group can be sent.
func (s *stream) run(share float64, limit time.Duration, joins bool) (took time.Duration) {
	due := 0.0
	for took = 0; took < limit && !(joins && s.table.hasJoined()); took += tick {
		due += share * float64(tick) / float64(requestTime)
		s.write(int(due), s.perTick())
		due -= float64(int(due))
		time.Sleep(time.Millisecond)
		s.bring()
		time.Sleep(tick - time.Millisecond)
	}
	return took
}

// drain delivers the waiting rows until the stream is joined or the returned function is called.
func (s *stream) drain(t *testing.T) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.worker.drain(ctx, s.held) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestAGroupNearItsLimitJoins: each pass finds nearly as many rows as the one before it.
func TestAGroupNearItsLimitJoins(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{90, 95, 98} {
		t.Run(fmt.Sprint(percent), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, end := newStream(t)
				defer end()
				s.perTick = func() int { return 5 }
				s.write(200, 0)
				endDrain := s.drain(t)
				took := s.run(float64(percent)/100, 5*time.Minute, true)
				if !s.table.hasJoined() {
					t.Errorf("the group waits in the table after %v", took)
				}
				s.run(float64(percent)/100, 30*time.Second, false)
				endDrain()
				if load := s.tracker.Load().Events; load > streamWindow.Events/4 {
					t.Errorf("%d events are in the window half a minute after the join", load)
				}
				if slowest := s.queue.slowestOther(); slowest > 50*time.Millisecond {
					t.Errorf("an event of another group took %v", slowest)
				}
			})
		})
	}
}

// TestABurstEndsAnAttemptToJoin: 40 times as many events of others come while the gate keeps those
// of the group, which its last pass cannot deliver sooner.
func TestABurstEndsAnAttemptToJoin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, end := newStream(t)
		defer end()
		bursts, isBurst := 0, false
		s.perTick = func() int {
			_, keeps := s.worker.Gate.keptOf(s.held)
			if keeps && !isBurst {
				bursts++
			}
			if isBurst = keeps; keeps {
				return 200
			}
			return 5
		}
		s.write(200, 0)
		endDrain := s.drain(t)
		s.run(0.98, 2*time.Minute, true)
		s.run(0.98, 5*time.Second, false)
		endDrain()
		if slowest := s.queue.slowestOther(); slowest > 50*time.Millisecond || bursts == 0 {
			t.Errorf("an event of another group took %v in %d bursts", slowest, bursts)
		}
	})
}
