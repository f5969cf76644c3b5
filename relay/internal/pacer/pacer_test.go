package pacer

import (
	"testing"
	"time"
)

// testEnv is a destination with a token bucket, and a relay that always has a request to send, in a
// clock of its own.
type testEnv struct {
	p         Pacer
	now       time.Time
	perSecond float64
	burst     float64
	tokens    float64
	latency   time.Duration
	answers   []answer // in flight, in order
	taken     int
	refused   int
}

type answer struct {
	at      time.Time
	outcome Outcome
}

const step = 250 * time.Microsecond

func newTestEnv(perSecond, burst float64) *testEnv {
	return &testEnv{
		now:       time.Unix(1_000_000, 0),
		perSecond: perSecond,
		burst:     burst,
		tokens:    burst,
		latency:   15 * time.Millisecond,
	}
}

// run sends as many requests as the Pacer allows, 256 in flight at most.
func (w *testEnv) run(duration time.Duration) {
	w.taken, w.refused = 0, 0
	for end := w.now.Add(duration); w.now.Before(end); w.pass(step) {
		w.p.Forget(w.now)
		for len(w.answers) < 256 && !w.p.Next(w.now).After(w.now) {
			w.send()
		}
	}
}

// pass advances the time without a new request.
func (w *testEnv) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.tokens = min(w.burst, w.tokens+w.perSecond*d.Seconds())
	for len(w.answers) > 0 && !w.answers[0].at.After(w.now) {
		w.p.Done(w.answers[0].outcome, w.now)
		w.answers = w.answers[1:]
	}
}

func (w *testEnv) send() {
	w.p.Sent(w.now)
	a := answer{w.now.Add(w.latency), Throttled}
	if w.tokens >= 1 {
		w.tokens--
		w.taken++
		a.outcome = Accepted
	} else {
		w.refused++
	}
	w.answers = append(w.answers, a)
}

func (w *testEnv) expectRate(t *testing.T, want float64) {
	t.Helper()
	if got := w.p.Rate(); got < want*0.93 || got > want*1.07 || !w.p.Throttled() || w.p.Searching() {
		t.Errorf("rate %.0f, throttled %t, searching %t: want about %.0f", got, w.p.Throttled(), w.p.Searching(), want)
	}
}

func TestUnthrottledRequestsAreNotDelayed(t *testing.T) { // not parallel: it counts allocations
	var p Pacer
	now := time.Unix(1_000_000, 0)
	allocations := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Microsecond)
		p.Forget(now)
		if p.Next(now).After(now) {
			t.Fatal("a request is delayed")
		}
		p.Sent(now)
		p.Done(Accepted, now)
		p.Sent(now)
		p.Done(Other, now)
	})
	if allocations > 0 || p.Rate() != 0 || p.Throttled() {
		t.Errorf("%.0f allocations, rate %.0f, throttled %t", allocations, p.Rate(), p.Throttled())
	}
}

func TestBurstDoesNotInflateTheRate(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []float64{1, 20, 100, 300, 1000} {
		for _, burst := range []float64{30, 300} {
			w := newTestEnv(perSecond, burst)
			w.run(time.Duration(20+burst/perSecond) * time.Second)
			w.run(30 * time.Second)
			all := float64(w.taken + w.refused)
			if float64(w.taken+1) < 0.97*30*perSecond || float64(w.refused) > 0.03*all+2 {
				t.Errorf("%.0f/s, burst %.0f: %d taken and %d refused in 30 s", perSecond, burst, w.taken, w.refused)
			}
		}
	}
}

func TestRateFollowsAChangedQuota(t *testing.T) {
	t.Parallel()
	for _, burst := range []float64{30, 300} {
		for _, quota := range [][2]float64{
			{100, 50},
			{100, 200},
			{300, 150},
			{300, 600},
			{1000, 500},
			{1000, 2000},
			{1000, 100},
		} {
			w := newTestEnv(quota[0], burst)
			w.run(10 * time.Second)
			w.perSecond = quota[1]
			w.run(10 * time.Second)
			w.expectRate(t, quota[1])
		}
	}
}

// TestIdleTimeDoesNotChangeTheRate: a bucket that is full after a pause says nothing about the rate
// at which it fills.
func TestIdleTimeDoesNotChangeTheRate(t *testing.T) {
	t.Parallel()
	w := newTestEnv(300, 30)
	w.run(10 * time.Second)
	for range 20 {
		w.pass(3 * time.Second)
		w.run(time.Second)
		if got := w.p.Rate(); got < 250 || got > 400 {
			t.Fatalf("rate %.0f after a pause, want about 300", got)
		}
	}
}

func TestOperatorsLimitBoundsTheRate(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []float64{100, 10_000} {
		w := newTestEnv(perSecond, 30)
		w.p = New(50)
		w.run(10 * time.Second)
		if w.taken < 490 || w.taken > 502 || w.p.Rate() != 50 || w.p.Throttled() {
			t.Errorf("%d requests in 10 s at 50 a second, rate %.0f, throttled %t", w.taken, w.p.Rate(),
				w.p.Throttled())
		}
	}
	w := newTestEnv(20, 5)
	w.p = New(50)
	w.run(20 * time.Second)
	w.expectRate(t, 20)
}

// TestRateReturnsAfterAnOutage: a destination that refuses everything for a while is soon used in
// full again.
func TestRateReturnsAfterAnOutage(t *testing.T) {
	t.Parallel()
	for _, outage := range []time.Duration{500 * time.Millisecond, time.Second, 3 * time.Second, 30 * time.Second} {
		w := newTestEnv(300, 30)
		w.run(10 * time.Second)
		w.perSecond, w.tokens = 0, 0
		w.run(outage)
		if limit := 100 + 15*int(outage.Seconds()); w.refused > limit {
			t.Errorf("%d requests refused in %s without a quota, want %d at most", w.refused, outage, limit)
		}
		w.perSecond = 300
		w.run(5 * time.Second)
		w.run(5 * time.Second)
		w.expectRate(t, 300)
	}
}

func TestRateIsForgottenWithoutRefusals(t *testing.T) {
	t.Parallel()
	w := newTestEnv(300, 30)
	w.run(5 * time.Second)
	last := w.p.refusedAt
	w.pass(last.Add(remembered).Sub(w.now) - 1)
	if w.p.Forget(w.now); !w.p.Throttled() {
		t.Error("the rate is forgotten too early")
	}
	w.pass(1)
	if w.p.Forget(w.now); w.p.Throttled() || w.p.Rate() != 0 {
		t.Errorf("rate %.0f, %s after the last refusal", w.p.Rate(), w.now.Sub(last))
	}
}
