package chaos

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAWaitLastsAsLongAsTheCountFalls(t *testing.T) {
	const quiet = time.Minute
	for name, test := range map[string]struct {
		count func(after time.Duration) int
		left  int
		took  time.Duration
	}{
		"ten, slowly": {
			func(after time.Duration) int { return 10 - int(after/(45*time.Second)) }, 0, 450 * time.Second,
		},
		"one that stays":   {func(time.Duration) int { return 1 }, 1, quiet},
		"one that returns": {func(after time.Duration) int { return 2 - int(after/time.Second)%2 }, 1, quiet},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				left := awaitNone(t.Context(), quiet, func() (int, error) { return test.count(time.Since(began)), nil })
				took := time.Since(began)
				if left != test.left || took < test.took || took > test.took+2*time.Second {
					t.Errorf("%d were left after %v, want %d after %v", left, took, test.left, test.took)
				}
			})
		})
	}
}
