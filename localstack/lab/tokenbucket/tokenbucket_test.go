package tokenbucket

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBucketHoldsABurstAndFillsEvenly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(100, 30)
		expect := func(want int) {
			t.Helper()
			before := b.Counts().Taken
			for b.Take() {
			}
			if got := b.Counts().Taken - before; got != want {
				t.Errorf("%d requests are taken, want %d", got, want)
			}
		}
		expect(30)
		time.Sleep(100 * time.Millisecond)
		expect(10)
		b.SetRate(50)
		time.Sleep(100 * time.Millisecond)
		expect(5)
		time.Sleep(time.Hour)
		expect(30)
		if got := b.Counts(); got.Refused != 4 {
			t.Errorf("%d requests are refused, want one at the end of each of four bursts", got.Refused)
		}
	})
}
