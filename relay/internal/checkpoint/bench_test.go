package checkpoint_test

import (
	"testing"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
)

// BenchmarkTracker measures the cost of an event in the Tracker, from HasRoom to the resulting
// position.
func BenchmarkTracker(b *testing.B) {
	for _, c := range []struct {
		name        string
		transaction int  // events of each
		backwards   bool // deliver a window from its end
	}{
		{"a transaction an event", 1, false},
		{"a transaction of any size", 1 << 30, false},
		{"ten events a transaction, delivered backwards", 10, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			const window = 1024
			tracker := checkpoint.NewTracker(checkpoint.Window{Events: window, Bytes: 1 << 30}, checkpoint.Position{})
			var open [window]checkpoint.Handle
			n, lsn := 0, pglogrepl.LSN(1)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%c.transaction == 0 {
					tracker.Begin(checkpoint.Transaction{CommitLSN: lsn})
				}
				tracker.HasRoom()
				open[n] = tracker.Open("0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11", 300)
				n++
				if i%c.transaction == c.transaction-1 {
					lsn += 8
					tracker.Commit(lsn)
				}
				if n == window {
					deliver(tracker, open[:], c.backwards)
					n = 0
				}
			}
		})
	}
}

func deliver(tracker *checkpoint.Tracker, open []checkpoint.Handle, backwards bool) {
	for i := range open {
		if backwards {
			i = len(open) - 1 - i
		}
		tracker.Delivered(open[i])
	}
}
