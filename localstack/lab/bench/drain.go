package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// contestant is one way to drain a backlog.
type contestant struct {
	name     string
	to       destination // destination of a relay, or none
	latency  time.Duration
	settings []string // settings of a relay
	binary   string   // binary of a relay
	// divisor of the drained part of the backlog, for slow contestants; 0 drains all of it
	share int
	run   func(ctx context.Context, r *run, b *backlog, l link, c contestant) (result, error)
}

// result has the figures of one drain, of the drains of a round, or of all rounds.
type result struct {
	Round      int
	Shape      string
	Link       string
	Contestant string
	To         string        // destination
	Latency    time.Duration // latency of the broker
	Events     int
	PerSecond  float64
	Ratio      float64 // ratio to the mean of the source just before and just after
	OverLast   float64 // ratio to the last relay of Options.Relays in the same turn
	Slowest    float64 // events a second of the slowest round; only of a median
	OverSDK    float64 // ratio to the same relay with the SDK's clients in the same turn
	// range of the ratio over the rounds, relative to the median; only of a median
	Spread float64
	Stolen float64 // part of the machine's time that the hypervisor took

	Processor   float64 // microseconds an event, of the contestant
	Server      float64 // microseconds an event, of the walsender
	Allocations float64 // per event
	Requests    float64 // per event
	Peak        float64 // MB
}

// drainByRelay starts a relay and measures all events but the first quarter, in which the relay
// opens its connections.
func drainByRelay(ctx context.Context, r *run, b *backlog, l link, c contestant) (result, error) {
	return r.drainWith(ctx, b, l, c, func(*relay) error { return nil })
}

// drainOnAQuarter is drainByRelay with a quarter of a core.
func drainOnAQuarter(ctx context.Context, r *run, b *backlog, l link, c contestant) (result, error) {
	remove := func() {}
	defer func() { remove() }()
	return r.drainWith(ctx, b, l, c, func(p *relay) (err error) {
		remove, err = limit(p.process.Pid())
		return err
	})
}

// drainWith is drainByRelay with a function that is called as soon as the relay is started.
func (r *run) drainWith(ctx context.Context, b *backlog, l link, c contestant,
	started func(*relay) error,
) (result, error) {
	slot := fmt.Sprintf("bench_%d", time.Now().UnixNano())
	if err := b.newSlot(ctx, slot); err != nil {
		return result{}, err
	}
	to, err := r.startBroker(l, BrokerOptions{Latency: c.latency})
	if err != nil {
		return result{}, err
	}
	defer to.stop()
	p, err := r.startRelay(c.binary, b, l, slot, c.to, to, c.settings...)
	if err != nil {
		return result{}, err
	}
	if err := started(p); err != nil {
		return result{}, errors.Join(err, p.stop())
	}
	var drained result
	server, err := b.metered(ctx, slot, func() (err error) {
		drained, err = p.watch(ctx, to, b.events)
		return err
	})
	drained.Server = server
	if stopErr := p.stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return result{}, err
	}
	return drained, b.dropSlot(ctx, slot)
}

// watch waits until that many events have arrived, and returns the figures.
func (p *relay) watch(ctx context.Context, to *broker, events int) (result, error) {
	ctx, cancel := p.whileItRuns(ctx)
	defer cancel()
	quarter, err := to.awaitEvents(ctx, events/4)
	if err != nil {
		return result{}, err
	}
	usedBefore := usageOf(p.process.Pid()).processor
	before, err := p.allocations()
	if err != nil {
		return result{}, err
	}
	most, err := to.awaitEvents(ctx, events*3/4)
	if err != nil {
		return result{}, err
	}
	after, err := p.allocations()
	if err != nil {
		return result{}, err
	}
	all, err := to.awaitEvents(ctx, events)
	if err != nil {
		return result{}, err
	}
	measured := float64(all.Distinct - quarter.Distinct)
	if measured == 0 {
		return result{}, errors.New("the backlog is too small to be measured: set EVENTS to more")
	}
	used := usageOf(p.process.Pid())
	drained := result{
		Events:    all.Distinct,
		PerSecond: measured / time.Duration(all.Last-quarter.Last).Seconds(),
		Processor: float64((used.processor - usedBefore).Microseconds()) / measured,
		Requests:  float64(all.Requests) / float64(all.Events),
		Peak:      float64(used.peak) / (1 << 20),
	}
	if events := float64(most.Distinct - quarter.Distinct); events > 0 {
		drained.Allocations = (after - before) / events
	}
	return drained, nil
}

// drain measures one contestant once.
func (r *run) drain(ctx context.Context, b *backlog, s shape, l link, c contestant) error {
	before := machineTime()
	got, err := c.run(ctx, r, b, l, c)
	if err != nil {
		return fmt.Errorf("%s, %s over %s: %w", c.name, s, l, err)
	}
	got.Shape, got.Link, got.Contestant, got.To, got.Latency = s.String(), string(l), c.name, string(c.to), c.latency
	got.Round, got.Stolen = r.round, machineTime().stolenSince(before)
	got.OverSDK = r.overSDK(got)
	r.results = append(r.results, got)
	r.compare()
	r.logf("%-14s %-16s over %-6s to %-8s at %2d ms: %8.0f events/s, %5.1f µs of processor, %4.1f MB",
		c.name, s, l, c.to, c.latency.Milliseconds(), got.PerSecond, got.Processor, got.Peak)
	return nil
}

// compare sets the ratios between two measurements of the source, when the second one is there. The
// speed of a machine drifts, so both count.
func (r *run) compare() {
	last := &r.results[len(r.results)-1]
	if !last.isSource() {
		return
	}
	last.Ratio = 1
	since := len(r.results) - 1
	for since > 0 && !r.results[since-1].isSource() {
		since--
	}
	if since == 0 || r.results[since-1].key() != last.key() {
		return
	}
	source := (r.results[since-1].PerSecond + last.PerSecond) / 2
	between := r.results[since : len(r.results)-1]
	for i := range between {
		m := &between[i]
		m.Ratio = m.PerSecond / source
		m.OverLast = r.overLast(m, between)
	}
}

// overLast returns the speed of m relative to the last of the relays to compare, or zero for that
// relay and if there is only one.
func (r *run) overLast(m *result, between []result) float64 {
	last := filepath.Base(r.Relays[len(r.Relays)-1])
	if len(r.Relays) == 1 || m.Contestant == last {
		return 0
	}
	for _, other := range between {
		if other.Contestant == last && other.To == m.To && other.Latency == m.Latency {
			return m.PerSecond / other.PerSecond
		}
	}
	return 0
}

// overSDK returns the speed of m relative to the SDK's clients in the same round, or zero if those
// were not measured.
func (r *run) overSDK(m result) float64 {
	if m.isSource() || m.Contestant == bySDK {
		return 0
	}
	for _, before := range slices.Backward(r.results) {
		if before.Contestant == bySDK && before.To == m.To && before.Link == m.Link && before.Latency == m.Latency &&
			before.Shape == m.Shape {
			return m.PerSecond / before.PerSecond
		}
	}
	return 0
}

// bySDK is the relay that publishes with the AWS SDK.
const bySDK = "relay by SDK"

func (r *run) relayBySDK(to destination, latency time.Duration) contestant {
	c := r.relays(to, latency)[0]
	c.name, c.settings = bySDK, []string{"RELAY_AWS_CLIENT=sdk"}
	return c
}

// relays returns the relays to compare, as contestants.
func (r *run) relays(to destination, latency time.Duration) (all []contestant) {
	for _, binary := range r.Relays {
		name := "relay"
		if len(r.Relays) > 1 {
			name = filepath.Base(binary)
		}
		all = append(all, contestant{name: name, to: to, latency: latency, binary: binary, run: drainByRelay})
	}
	return all
}
