package delivery_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

var errThrottled = sink.RequestError(400, "ThrottlingException", "Rate exceeded", nil)

// brokerDelay is between a request and its answer.
const brokerDelay = 15 * time.Millisecond

// bucket is the quota of a destination, as AWS enforces it: a token bucket that counts requests.
// Several relays share it.
type bucket struct {
	mu             sync.Mutex
	perSecond      float64
	burst, tokens  float64
	filled         time.Time
	taken, refused []int // requests, by second
	events         int
	began          time.Time
}

func newBucket(perSecond, burst float64) *bucket {
	now := time.Now()
	return &bucket{perSecond: perSecond, burst: burst, tokens: burst, filled: now, began: now}
}

func (b *bucket) fill() {
	now := time.Now()
	b.tokens = min(b.burst, b.tokens+b.perSecond*now.Sub(b.filled).Seconds())
	b.filled = now
}

// answer takes a request if there is a token for it, and refuses the whole of it otherwise.
func (b *bucket) answer(_ context.Context, batch []*sink.Message) ([]sink.Result, error) {
	time.Sleep(brokerDelay/4 + rand.N(brokerDelay/2))
	defer time.Sleep(brokerDelay / 2)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	second := int(b.filled.Sub(b.began) / time.Second)
	for len(b.taken) <= second {
		b.taken, b.refused = append(b.taken, 0), append(b.refused, 0)
	}
	if b.tokens < 1 {
		b.refused[second]++
		return nil, errThrottled
	}
	b.tokens--
	b.taken[second]++
	b.events += len(batch)
	return make([]sink.Result, len(batch)), nil
}

// between returns how many requests a second were accepted, and which share of all requests was
// refused.
func (b *bucket) between(from, to int) (perSecond, refused float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	to = min(to, len(b.taken))
	took, not := 0, 0
	for second := from; second < to; second++ {
		took, not = took+b.taken[second], not+b.refused[second]
	}
	return float64(took) / float64(to-from), float64(not) / float64(took+not)
}

// ages are how long each delivered event took, by the second of its delivery.
type ages struct {
	tally
	began time.Time
	all   [][]time.Duration
}

func (a *ages) Delivered(_ string, sinceCommit []time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	second := int(time.Since(a.began) / time.Second)
	for len(a.all) <= second {
		a.all = append(a.all, nil)
	}
	a.all[second] = append(a.all[second], sinceCommit...)
}

func (a *ages) delivered() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(slices.Concat(a.all...))
}

// percentiles returns the median, the 99th percentile and the maximum of the events delivered from
// a second on.
func (a *ages) percentiles(from int) (median, p99, most time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	sorted := slices.Sorted(slices.Values(slices.Concat(a.all[min(from, len(a.all)):]...)))
	if len(sorted) == 0 {
		return 0, 0, 0
	}
	return sorted[len(sorted)/2], sorted[len(sorted)*99/100], sorted[len(sorted)-1]
}

// productionOptions are those of a relay without settings of its own.
func productionOptions() delivery.Options {
	return delivery.Options{
		InFlight: 256, EagerInFlight: 32, Backoff: delivery.Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second},
	}
}

// throttled is a relay before a destination with a quota.
type throttled struct {
	*fixture
	ages   ages
	random *rand.Rand
	sent   int
}

// relayTo returns a relay in the bubble of the test, whose destination answers from b.
func relayTo(t *testing.T, limits sink.Limits, b *bucket, change ...func(*delivery.Options)) *throttled {
	th := &throttled{
		random: rand.New(rand.NewPCG(1, 2)),
		ages:   ages{tally: tally{count: map[string]int{}}, began: time.Now()},
	}
	limits.MaxBatchBytes = 1 << 20
	th.fixture = newFixture(
		t,
		one(limits),
		[]func(*fixture, []delivery.Destination){func(r *fixture, _ []delivery.Destination) {
			r.options = productionOptions()
			for _, f := range change {
				f(&r.options)
			}
			r.observer = &th.ages
			r.tracker = checkpoint.NewTracker(checkpoint.Window{Events: 8192, Bytes: 1 << 30}, checkpoint.Position{})
		}},
	)
	th.sinks[0].forgetful = true
	th.sinks[0].answers(b.answer)
	return th
}

// offer sends perSecond events each second, of 10,000 aggregates, as long as the window has room.
// Zero is a backlog: the window is always full.
func (th *throttled) offer(perSecond int, duration time.Duration) {
	const tick = time.Millisecond
	owed := 0.0
	for end := time.Now().Add(duration); time.Now().Before(end); time.Sleep(tick) {
		owed += float64(perSecond) * tick.Seconds()
		for (perSecond == 0 || owed >= 1) && th.tracker.HasRoom() {
			th.sent++
			id := fmt.Sprint(th.sent)
			e := &delivery.Event{CommittedAt: time.Now(), Message: sink.Message{
				EventID: id, Body: "{}", GroupID: fmt.Sprint(th.random.IntN(10_000)), DeduplicationID: id,
			}}
			e.Handle = th.tracker.Open(id, 1)
			th.delivery.Send(0, e)
			owed--
		}
	}
}

func TestQuotaIsUsedAndRarelyExceeded(t *testing.T) {
	t.Parallel()
	for _, limits := range []sink.Limits{fifo, standard} {
		for _, perSecond := range []float64{100, 300, 1000} {
			for _, burst := range []float64{30, 300} {
				t.Run(fmt.Sprintf("FIFO=%t/%.0f/burst %.0f", limits.FIFO, perSecond, burst), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						b := newBucket(perSecond, burst)
						th := relayTo(t, limits, b)
						th.offer(0, 8*time.Second)
						th.stop()
						th.expectUse(t, b, 3, 8)
						if took, _ := b.between(0, 8); float64(b.events) < 0.97*8*took*sink.MaxBatch {
							t.Errorf("%d events in %.0f requests: they are not full", b.events, 8*took)
						}
					})
				})
			}
		}
	}
}

// TestEventsBelowTheQuotaAreFast counts refused requests from the twelfth second on. At 350 events
// a second a request has one event until the burst of 300 requests is used up after six seconds.
// The search for the rate follows.
func TestEventsBelowTheQuotaAreFast(t *testing.T) {
	t.Parallel()
	for _, limits := range []sink.Limits{fifo, standard} {
		for _, c := range []struct {
			perSecond, burst float64
			events           int
		}{{300, 300, 2000}, {300, 30, 2000}, {100, 30, 667}, {1000, 30, 6667}, {300, 300, 350}} {
			t.Run(
				fmt.Sprintf("FIFO=%t/%.0f/burst %.0f/%d", limits.FIFO, c.perSecond, c.burst, c.events),
				func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						b := newBucket(c.perSecond, c.burst)
						th := relayTo(t, limits, b)
						th.offer(c.events, 22*time.Second)
						th.stop()
						if b.events < 22*c.events*99/100 {
							t.Errorf("%d of %d events delivered", b.events, 22*c.events)
						}
						if _, _, most := th.ages.percentiles(0); most > time.Second { // also while the rate is searched
							t.Errorf("an event is delivered after %s", most)
						}
						if _, p99, _ := th.ages.percentiles(2); p99 > 200*time.Millisecond {
							t.Errorf("99 %% of the events are delivered within %s", p99)
						}
						if _, refused := b.between(12, 22); refused > 0.03 {
							t.Errorf("%.1f %% of the requests are refused", 100*refused)
						}
					})
				},
			)
		}
	}
}

// TestTwoRelaysShareAQuota measures ten seconds after the second relay came: until then both search
// and measure again, and more requests are refused.
func TestTwoRelaysShareAQuota(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []float64{100, 300} {
		t.Run(fmt.Sprint(perSecond), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBucket(perSecond, 30)
				first, second := relayTo(t, fifo, b), relayTo(t, fifo, b)
				var wait sync.WaitGroup
				wait.Go(func() { first.offer(0, 40*time.Second) })
				time.Sleep(10 * time.Second)
				wait.Go(func() { second.offer(0, 30*time.Second) })
				time.Sleep(10 * time.Second)
				before, beforeSecond := first.ages.delivered(), second.ages.delivered()
				wait.Wait()
				first.stop()
				second.stop()
				first.expectUse(t, b, 20, 40)
				one, other := float64(first.ages.delivered()-before), float64(second.ages.delivered()-beforeSecond)
				if share := one / (one + other); share < 0.25 || share > 0.75 {
					t.Errorf("the first relay has %.0f %% of the quota", 100*share)
				}
			})
		})
	}
}

// TestDestinationIsUsedAgainAfterThrottling: a destination that no longer throttles gets all there
// is within seconds.
func TestDestinationIsUsedAgainAfterThrottling(t *testing.T) {
	t.Parallel()
	for _, outage := range []time.Duration{time.Second, 20 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b := newBucket(1000, 30)
			th := relayTo(t, standard, b)
			th.sinks[0].answers(after(brokerDelay, failAll(errThrottled)))
			th.offer(0, outage)
			th.sinks[0].answers(b.answer)
			th.offer(0, 12*time.Second)
			th.stop()
			end := int(outage/time.Second) + 12
			if took, _ := b.between(end-3, end); took < 0.9*1000 {
				t.Errorf("%.0f requests a second, 12 s after an outage of %s", took, outage)
			}
		})
	}
}

func TestMaxRateBoundsTheRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(10_000, 10_000)
		th := relayTo(t, standard, b, func(o *delivery.Options) { o.MaxRate = 50 })
		th.offer(0, 10*time.Second)
		th.stop()
		if took, refused := b.between(0, 10); took < 49 || took > 50.5 || refused > 0 {
			t.Errorf("%.1f requests a second at 50 at most, %.1f %% refused", took, 100*refused)
		}
		th.expectPaced(t, 50, false)
	})
}

// TestThrottlingIsTold: the metrics show it while it lasts, and the log has two lines.
func TestThrottlingIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(100, 30)
		th := relayTo(t, standard, b)
		th.offer(0, 10*time.Second)
		th.expectPaced(t, 100, true)
		time.Sleep(10 * time.Minute)
		th.expectPaced(t, 0, false)
		th.stop()
		for _, line := range []string{
			"level=WARN msg=\"destination throttles", "level=INFO msg=\"destination no longer throttles",
		} {
			if n := strings.Count(th.log.String(), line); n != 1 {
				t.Errorf("%d lines of the log have %s:\n%s", n, line, th.log.String())
			}
		}
	})
}

// expectUse expects that the quota was used in these seconds, and few requests were refused.
func (th *throttled) expectUse(t *testing.T, b *bucket, from, to int) {
	t.Helper()
	took, refused := b.between(from, to)
	if took < 0.97*b.perSecond || refused > 0.03 {
		t.Errorf("%.0f of %.0f requests a second were taken, %.1f %% were refused", took, b.perSecond, 100*refused)
	}
}

// expectPaced compares the metrics with the expected rate, within a tenth.
func (th *throttled) expectPaced(t *testing.T, perSecond float64, throttled bool) {
	t.Helper()
	th.ages.mu.Lock()
	defer th.ages.mu.Unlock()
	if rate := th.ages.rate; rate < 0.9*perSecond || rate > 1.1*perSecond || th.ages.throttled != throttled {
		t.Errorf("the metrics say %.0f requests a second, throttled %t: want about %.0f, %t", rate,
			th.ages.throttled, perSecond, throttled)
	}
}
