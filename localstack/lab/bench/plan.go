package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// tenMillion takes ten minutes and 20 GB of disk, so it runs only on request.
const tenMillion = "ten million"

// oneRow is the shape of the targets: each event in its own transaction.
var oneRow = shape{bytes: 300, rows: 1}

// near is the latency of SQS and SNS in the relay's own region.
const near = 15 * time.Millisecond

// measure runs the plan round by round, so that compared contestants run in turns.
func (r *run) measure(ctx context.Context) error {
	if err := r.drainOneRow(ctx); err != nil {
		return err
	}
	if err := r.drainOtherShapes(ctx); err != nil {
		return err
	}
	if err := r.drainMessages(ctx); err != nil {
		return err
	}
	if err := r.drainBySettings(ctx); err != nil {
		return err
	}
	if err := r.steadyRates(ctx); err != nil {
		return err
	}
	if err := r.largeAmongSmall(ctx); err != nil {
		return err
	}
	return r.underQuotas(ctx)
}

// isWanted reports whether Options.Only selects a case.
func (r *run) isWanted(name string) bool { return strings.Contains(name, r.Only) }

func (r *run) newBacklog(ctx context.Context, name string, s shape, events int) (*backlog, error) {
	r.logf("writing a backlog of %d events, %s", events, s)
	b, err := r.newDatabase(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := b.fill(ctx, s, events); err != nil {
		return nil, err
	}
	r.logf("an event takes %d bytes of log", b.wal)
	return b, nil
}

func (r *run) drainOneRow(ctx context.Context) error {
	links := slices.DeleteFunc([]link{secured, tcp, socket}, func(l link) bool {
		return r.Quick && l == socket || !r.isWanted("one row over "+string(l))
	})
	if len(links) == 0 && !r.isWanted(quarterCore) {
		return nil
	}
	b, err := r.newBacklog(ctx, "one_row", oneRow, r.Events/turns)
	if err != nil {
		return err
	}
	for r.round = range r.Rounds {
		r.logf("round %d of %d", r.round+1, r.Rounds)
		for _, l := range links {
			for range turns {
				if err := r.drainInTurn(ctx, b, l); err != nil {
					return err
				}
			}
		}
	}
	return r.onAQuarter(ctx, b)
}

// turns is the number of drains of one-row transactions by each contestant in a round, which has
// their means. The speed of a machine changes within seconds. Both sides of a ratio meet the same
// changes in several short drains in turns, and not in one long drain each.
const turns = 4

func (r *run) drainInTurn(ctx context.Context, b *backlog, l link) error {
	for _, c := range r.contestants(l) {
		if err := r.drain(ctx, b, oneRow, l, c); err != nil {
			return err
		}
	}
	r.turn++
	return nil
}

// drainBySettings measures the settings that trade memory and connections for speed.
func (r *run) drainBySettings(ctx context.Context) error {
	if r.Quick || !r.isWanted("settings") {
		return nil
	}
	b, err := r.newBacklog(ctx, "settings", oneRow, r.Events)
	if err != nil {
		return err
	}
	for r.round = range r.Rounds {
		for _, setting := range []string{
			"RELAY_IN_FLIGHT=16", "RELAY_IN_FLIGHT=64", "RELAY_IN_FLIGHT=256", "RELAY_IN_FLIGHT=512",
			"RELAY_WINDOW_EVENTS=512", "RELAY_WINDOW_EVENTS=2048", "RELAY_WINDOW_EVENTS=8192",
			"RELAY_WINDOW_EVENTS=32768",
		} {
			for _, c := range r.relays(queue, near) {
				c.name, c.settings = c.name+", "+setting, []string{setting}
				if err := r.drain(ctx, b, oneRow, secured, c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// contestants returns the contestants that drain one-row transactions over a link: all over TLS, as
// on AWS, and fewer over the other links. The SDK's clients come first, because ratios refer to
// their result of the same round. The source comes before and after a few relays.
func (r *run) contestants(l link) []contestant {
	all := []contestant{source()}
	if l == secured {
		for _, to := range []destination{queue, topic} {
			all = append(all, r.relayBySDK(to, near))
		}
	}
	for _, latency := range r.latencies(l) {
		for _, to := range []destination{queue, topic} {
			all = append(all, r.inTurn(to, latency)...)
		}
		all = append(all, source())
	}
	if l == socket {
		return all
	}
	for _, to := range []destination{fifoQueue, fifoTopic} {
		all = append(all, r.inTurn(to, near)...)
	}
	if l == secured {
		all = append(all, plain(near))
	}
	return append(all, source())
}

// inTurn returns the relays to compare. Another one is the first in each turn.
func (r *run) inTurn(to destination, latency time.Duration) []contestant {
	all := r.relays(to, latency)
	first := r.turn % len(all)
	return slices.Concat(all[first:], all[:first])
}

// latencies returns the broker latencies of the relays over a link.
func (r *run) latencies(l link) []time.Duration {
	switch {
	case l == socket:
		return []time.Duration{0}
	case r.Quick:
		return []time.Duration{near, 0}
	}
	return []time.Duration{near, 0, 25 * time.Millisecond}
}

// quarterCore is the relay with one thread and a quarter of a core.
const quarterCore = "quarter core"

// onAQuarter drains with one thread and a quarter of a core, if the machine allows such a limit.
func (r *run) onAQuarter(ctx context.Context, b *backlog) error {
	if !r.isWanted(quarterCore) {
		return nil
	}
	c := r.relays(queue, near)[0]
	c.name, c.settings, c.run = quarterCore, []string{"GOMAXPROCS=1"}, drainOnAQuarter
	for range turns {
		err := r.drain(ctx, b, oneRow, secured, c)
		if errors.Is(err, errNoLimit) {
			r.logf("%v", err)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) drainOtherShapes(ctx context.Context) error {
	for _, c := range []struct {
		name   string
		shape  shape
		events int
	}{
		{"hundred rows", shape{bytes: 300, rows: 100}, 3 * r.Events / 2},
		{"large payload", shape{bytes: 2048, rows: 1}, r.Events / 2},
		{"one million", shape{bytes: 300, rows: 1_000_000}, 1_000_000},
		{tenMillion, shape{bytes: 300, rows: 100}, 10_000_000},
	} {
		if r.Quick || !r.isWanted(c.name) || c.name == tenMillion && r.Only == "" {
			continue
		}
		b, err := r.newBacklog(ctx, strings.ReplaceAll(c.name, " ", "_"), c.shape, c.events)
		if err != nil {
			return err
		}
		for r.round = range r.Rounds {
			for _, contestant := range slices.Concat([]contestant{source()}, r.relays(queue, near),
				[]contestant{source()}) {
				if err := r.drain(ctx, b, c.shape, secured, contestant); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// drainMessages compares rows with emitted messages of the same content.
func (r *run) drainMessages(ctx context.Context) error {
	if r.Quick || !r.isWanted("messages") {
		return nil
	}
	backlogs := map[string]*backlog{}
	shapes := []shape{
		oneRow, {bytes: 300, rows: 1, emitted: true}, {bytes: 300, rows: 100}, {bytes: 300, rows: 100, emitted: true},
	}
	for i, s := range shapes {
		var err error
		if backlogs[s.String()], err = r.newBacklog(ctx, fmt.Sprintf("messages_%d", i), s, r.Events); err != nil {
			return err
		}
	}
	for r.round = range r.Rounds {
		for _, s := range shapes {
			for _, c := range r.relays(queue, near) {
				c.name, c.settings = c.name+", RELAY_EMITTED", []string{"RELAY_EMITTED=outbox"}
				if s.emitted { // a header may have the name
					c.settings = append(c.settings, "RELAY_ATTRIBUTE_NAMES=sequence=none")
				}
				if err := r.drain(ctx, backlogs[s.String()], s, secured, c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// steadyRates measures delays, and the settings that trade delay for requests.
func (r *run) steadyRates(ctx context.Context) error {
	var all []steady
	add := func(rate int, latency time.Duration, settings ...string) {
		for _, c := range r.relays(queue, latency) {
			c.settings = settings
			all = append(all, steady{
				contestant: c, link: secured, rate: rate,
				time: pick(r.Quick, 8*time.Second, 20*time.Second),
			})
		}
	}
	if r.isWanted("steady") {
		add(500, near)
		if !r.Quick {
			add(500, 0)
			add(500, 25*time.Millisecond)
			add(2000, near)
		}
	}
	if !r.Quick && r.isWanted("settings") {
		for _, linger := range []int{5, 20, 50} {
			add(500, near, fmt.Sprintf("RELAY_LINGER=%dms", linger))
		}
		for _, inFlight := range []int{1, 4, 16} {
			add(500, near, fmt.Sprintf("RELAY_IN_FLIGHT=%d", inFlight))
		}
	}
	for _, s := range all {
		got, err := r.atRate(ctx, s)
		if err != nil {
			return fmt.Errorf("%d events a second: %w", s.rate, err)
		}
		r.delays = append(r.delays, got)
		r.logf("%-14s %d events/s to %s at %2d ms %v: p50 %v, p99 %v, p99.9 %v", got.Contestant, got.PerSecond, got.To,
			got.Latency.Milliseconds(), s.settings, round(got.P50), round(got.P99), round(got.Top))
	}
	return nil
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
