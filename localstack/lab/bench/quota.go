package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// quotas takes minutes in which the machine is mostly idle, so it runs only on request.
const quotas = "quota"

const (
	// settle is the time in which a relay has to find a quota.
	settle = 10 * time.Second
	// steadyTime is the duration of the measurement after that.
	steadyTime = 10 * time.Second
)

// quotaCase is a quota of publish requests to measure.
type quotaCase struct {
	perSecond float64
	burst     int
}

// use is the use of a quota by relays.
type use struct {
	Case      string
	To        string
	PerSecond float64 // requests a second of the quota
	Burst     float64
	Reached   float64       // share of the quota
	Refused   float64       // share of the requests
	P99, Top  time.Duration // from commit to broker, at a steady rate
	Share     float64       // share of the first of two relays
}

// underQuotas measures relays with a broker that throttles as AWS does.
func (r *run) underQuotas(ctx context.Context) error {
	if r.Only != quotas {
		return nil
	}
	b, err := r.newBacklog(ctx, "quotas", oneRow, r.Events)
	if err != nil {
		return err
	}
	for _, to := range []destination{queue, fifoQueue} {
		for _, q := range []quotaCase{{100, 30}, {100, 300}, {1000, 30}, {1000, 300}} {
			err = errors.Join(err, r.useByBacklog(ctx, b, "backlog", to, q, 0, 1))
		}
		err = errors.Join(err, r.useByTwoThirds(ctx, to, quotaCase{100, 30}),
			r.useByTwoThirds(ctx, to, quotaCase{300, 300}))
	}
	return errors.Join(err,
		r.useByBacklog(ctx, b, "halved", fifoQueue, quotaCase{300, 30}, 150, 1),
		r.useByBacklog(ctx, b, "doubled", fifoQueue, quotaCase{300, 30}, 600, 1),
		r.useByBacklog(ctx, b, "two relays", fifoQueue, quotaCase{300, 30}, 0, 2))
}

// useByBacklog lets relays drain a backlog under a quota. If changed is not zero, the quota changes
// to that rate after the relays have found the first one.
func (r *run) useByBacklog(ctx context.Context, b *backlog, name string, d destination, q quotaCase, changed float64,
	relays int,
) error {
	to, err := r.startBroker(secured, BrokerOptions{Latency: near, PerSecond: q.perSecond, Burst: q.burst})
	if err != nil {
		return err
	}
	defer to.stop()
	running, err := r.startRelays(ctx, b, d, to, relays)
	if err != nil {
		return err
	}
	err = pause(ctx, settle+time.Duration(float64(q.burst)/q.perSecond)*time.Second)
	if changed > 0 && err == nil {
		q.perSecond = changed
		err = errors.Join(to.get("/quota/"+strconv.FormatFloat(changed, 'f', -1, 64), new(float64)), pause(ctx, settle))
	}
	u := use{Case: name, To: string(d), PerSecond: q.perSecond, Burst: float64(q.burst)}
	if err == nil {
		err = u.measure(ctx, to, running)
	}
	for _, one := range running {
		err = errors.Join(err, one.process.stop(), b.dropSlot(ctx, one.slot))
	}
	r.addUse(u)
	return err
}

// reader is a relay that reads a slot.
type reader struct {
	process *relay
	slot    string
}

func (r *run) startRelays(ctx context.Context, b *backlog, d destination, to *broker,
	relays int,
) (running []reader, err error) {
	for range relays {
		slot := fmt.Sprintf("bench_%d", time.Now().UnixNano())
		if err := b.newSlot(ctx, slot); err != nil {
			return nil, err
		}
		p, err := r.startRelay(r.Relays[0], b, secured, slot, d, to)
		if err != nil {
			return nil, err
		}
		running = append(running, reader{p, slot})
	}
	return running, nil
}

// measure compares the requests of an interval with the quota.
func (u *use) measure(ctx context.Context, to *broker, running []reader) error {
	var before, after QuotaCounts
	firstBefore, err := running[0].process.metric(requestsTotal)
	began := time.Now()
	if err := errors.Join(err, to.get("/quota", &before), pause(ctx, steadyTime),
		to.get("/quota", &after)); err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	firstAfter, err := running[0].process.metric(requestsTotal)
	accepted, refused := float64(after.Accepted-before.Accepted), float64(after.Refused-before.Refused)
	u.Reached, u.Refused = accepted/took/u.PerSecond, refused/(accepted+refused)
	if len(running) > 1 {
		u.Share = (firstAfter - firstBefore) / accepted
	}
	return err
}

// requestsTotal is the metric of accepted requests, with the labels of the only destination.
const requestsTotal = `relay_requests_total{code="",destination=`

// useByTwoThirds commits two thirds of the events that a quota allows.
func (r *run) useByTwoThirds(ctx context.Context, to destination, q quotaCase) error {
	d, err := r.atRate(ctx, steady{
		contestant: r.relays(to, near)[0], link: secured, quota: q, rate: int(q.perSecond * 10 * 2 / 3),
		time: settle + steadyTime,
	})
	r.addUse(use{
		Case: "two thirds", To: string(to), PerSecond: q.perSecond, Burst: float64(q.burst),
		Reached: d.Requests * float64(d.PerSecond) / q.perSecond, Refused: d.Refused, P99: d.P99, Top: d.Top,
	})
	return err
}

func (r *run) addUse(u use) {
	r.uses = append(r.uses, u)
	r.logf("%-10s to %-8s at %4.0f requests/s, burst %3.0f: %5.1f %% reached, %4.1f %% refused, p99 %v",
		u.Case, u.To, u.PerSecond, u.Burst, 100*u.Reached, 100*u.Refused, round(u.P99))
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func printUses(w io.Writer, all []use) {
	fmt.Fprintln(w, "events\tto\tquota, requests/s\tburst\treached\trefused\tp99\tp99.9\tof the first relay\t")
	for _, u := range all {
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f\t%.1f %%\t%.1f %%\t%s\t%s\t%s\t\n", u.Case, u.To, u.PerSecond, u.Burst,
			100*u.Reached, 100*u.Refused,
			known(float64(u.P99.Milliseconds()), "%.0f ms"), known(float64(u.Top.Milliseconds()), "%.0f ms"),
			known(100*u.Share, "%.0f %%"))
	}
}

// judgeUses returns the targets for quotas.
func judgeUses(all []use) (goals []goal) {
	if len(all) == 0 {
		return nil
	}
	reached, refused, p99 := 1.0, 0.0, time.Duration(0)
	for _, u := range all {
		if u.Case != "two thirds" {
			reached = min(reached, u.Reached)
		}
		refused, p99 = max(refused, u.Refused), max(p99, u.P99)
	}
	return []goal{
		{"quota: 97 % of it", fmt.Sprintf("%.1f %%", 100*reached), reached >= 0.97},
		{"quota: 3 % of the requests refused", fmt.Sprintf("%.1f %%", 100*refused), refused <= 0.03},
		{"two thirds of a quota: p99 200 ms", round(p99).String(), p99 < 200*time.Millisecond},
	}
}
