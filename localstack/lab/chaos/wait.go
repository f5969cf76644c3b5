package chaos

import (
	"context"
	"time"
)

// pollInterval is the interval between two checks of a condition.
const pollInterval = 5 * time.Millisecond

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// await waits until condition holds, and reports whether it did in time.
func await(ctx context.Context, timeout time.Duration, condition func() bool) bool {
	for deadline := time.Now().Add(timeout); ; pause(ctx, pollInterval) {
		if condition() {
			return true
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return false
		}
	}
}

// awaitNone waits until count returns zero, and gives up when the count has reached no new low for
// the duration quiet. So the number of events may be large, and the machine busy. It returns the
// last count, which is -1 if each try failed.
func awaitNone(ctx context.Context, quiet time.Duration, count func() (int, error)) int {
	last, low, since := -1, -1, time.Now()
	for ; ; pause(ctx, pollInterval) {
		if n, err := count(); err == nil {
			last = n
			if low < 0 || n < low {
				low, since = n, time.Now()
			}
		}
		if last == 0 || ctx.Err() != nil || time.Since(since) > quiet {
			return last
		}
	}
}
