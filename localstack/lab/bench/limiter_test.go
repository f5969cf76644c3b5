package bench

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestQuotaAcceptsItsBurstAndItsRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := NewQuota(100, 30)
		expect := func(want int) {
			t.Helper()
			before := q.Counts().Accepted
			for q.Allow() {
			}
			if got := q.Counts().Accepted - before; got != want {
				t.Errorf("%d requests are accepted, want %d", got, want)
			}
		}
		expect(30)
		time.Sleep(100 * time.Millisecond)
		expect(10)
		q.SetRate(50)
		time.Sleep(100 * time.Millisecond)
		expect(5)
		time.Sleep(time.Hour)
		expect(30)
		if got := q.Counts(); got.Refused != 4 {
			t.Errorf("%d requests are refused, want one at the end of each of four bursts", got.Refused)
		}
	})
}
