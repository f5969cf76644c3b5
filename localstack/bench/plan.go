package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// tenMillion takes ten minutes and 20 GB of disk: it is measured where it is asked for.
const tenMillion = "ten million"

// oneRow is the shape that the targets are about: each event in a transaction of its own.
var oneRow = shape{300, 1}

// measure goes through the plan, round by round, so that what is compared is measured in turns.
func (r *run) measure(ctx context.Context) error {
	if err := r.drainOneRow(ctx); err != nil {
		return err
	}
	if err := r.drainOtherShapes(ctx); err != nil {
		return err
	}
	if err := r.drainBySettings(ctx); err != nil {
		return err
	}
	return r.steadyRates(ctx)
}

// isWanted reports whether a case is among those that are asked for.
func (r *run) isWanted(name string) bool { return strings.Contains(name, r.Only) }

func (r *run) newBacklog(ctx context.Context, name string, s shape, events int) (*backlog, error) {
	r.tell("writing a backlog of %d events, %s", events, s)
	b, err := r.newDatabase(ctx, name)
	if err != nil {
		return nil, err
	}
	return b, b.fill(ctx, s, events)
}

func (r *run) drainOneRow(ctx context.Context) error {
	if !r.isWanted("one row over "+string(socket)) && !r.isWanted("one row over "+string(tcp)) && !r.isWanted("quota") {
		return nil
	}
	b, err := r.newBacklog(ctx, "one_row", oneRow, r.Events)
	if err != nil {
		return err
	}
	for round := range r.Rounds {
		r.tell("round %d of %d", round+1, r.Rounds)
		for _, l := range []link{socket, tcp} {
			if !r.isWanted("one row over " + string(l)) {
				continue
			}
			for _, c := range r.contestants(l) {
				if err := r.drain(ctx, b, oneRow, l, c); err != nil {
					return err
				}
			}
		}
	}
	return r.onAQuarter(ctx, b)
}

// drainBySettings measures what the settings that trade memory and connections for speed do.
func (r *run) drainBySettings(ctx context.Context) error {
	if r.Quick || !r.isWanted("settings") {
		return nil
	}
	b, err := r.newBacklog(ctx, "settings", oneRow, r.Events)
	if err != nil {
		return err
	}
	for range r.Rounds {
		for _, setting := range []string{
			"RELAY_IN_FLIGHT=16", "RELAY_IN_FLIGHT=64", "RELAY_IN_FLIGHT=256", "RELAY_IN_FLIGHT=512",
			"RELAY_WINDOW_EVENTS=512", "RELAY_WINDOW_EVENTS=2048", "RELAY_WINDOW_EVENTS=8192", "RELAY_WINDOW_EVENTS=32768",
		} {
			for _, c := range r.relays(queue, 10*time.Millisecond) {
				c.name, c.settings = c.name+", "+setting, []string{setting}
				if err := r.drain(ctx, b, oneRow, tcp, c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// contestants returns who drains one-row transactions over a link.
func (r *run) contestants(l link) []contestant {
	all := []contestant{source()}
	latencies := []time.Duration{0, 10 * time.Millisecond, 25 * time.Millisecond}
	if r.Quick {
		latencies = latencies[:1]
	}
	for _, latency := range latencies {
		for _, to := range []destination{queue, topic} {
			all = append(all, r.relays(to, latency)...)
		}
	}
	if l == socket {
		return all
	}
	for _, to := range []destination{queue, topic} {
		sdk := r.relays(to, 0)[0]
		sdk.name, sdk.settings = "relay by SDK", []string{"RELAY_AWS_CLIENT=sdk"}
		all = append(all, sdk)
	}
	for _, to := range []destination{fifoQueue, fifoTopic} {
		all = append(all, r.relays(to, 0)...)
	}
	for _, latency := range latencies {
		all = append(all, plain(latency))
	}
	return all
}

// onAQuarter drains with one thread and a quarter of a core, where the machine allows to say so.
func (r *run) onAQuarter(ctx context.Context, b *backlog) error {
	if !r.isWanted("quota") {
		return nil
	}
	c := r.relays(queue, 0)[0]
	c.name, c.settings, c.run = "quarter core", []string{"GOMAXPROCS=1"}, drainOnAQuarter
	err := r.drain(ctx, b, oneRow, tcp, c)
	if errors.Is(err, errNoLimit) {
		r.tell("%v", err)
		return nil
	}
	return err
}

func (r *run) drainOtherShapes(ctx context.Context) error {
	for _, c := range []struct {
		name   string
		shape  shape
		events int
	}{
		{"hundred rows", shape{300, 100}, 3 * r.Events / 2},
		{"large payload", shape{2048, 1}, r.Events / 2},
		{"one million", shape{300, 1_000_000}, 1_000_000},
		{tenMillion, shape{300, 100}, 10_000_000},
	} {
		if r.Quick || !r.isWanted(c.name) || c.name == tenMillion && r.Only == "" {
			continue
		}
		b, err := r.newBacklog(ctx, strings.ReplaceAll(c.name, " ", "_"), c.shape, c.events)
		if err != nil {
			return err
		}
		for range r.Rounds {
			for _, contestant := range append([]contestant{source()}, r.relays(queue, 0)...) {
				if err := r.drain(ctx, b, c.shape, tcp, contestant); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// steadyRates measures delays, and what the settings that trade delay for requests do to them.
func (r *run) steadyRates(ctx context.Context) error {
	var all []steady
	add := func(rate int, latency time.Duration, settings ...string) {
		for _, c := range r.relays(queue, latency) {
			c.settings = settings
			all = append(all, steady{contestant: c, rate: rate, time: pick(r.Quick, 8*time.Second, 20*time.Second)})
		}
	}
	if r.isWanted("steady") {
		add(500, 0)
		if !r.Quick {
			add(500, 10*time.Millisecond)
			add(500, 25*time.Millisecond)
			add(2000, 10*time.Millisecond)
		}
	}
	if !r.Quick && r.isWanted("settings") {
		for _, linger := range []int{5, 20, 50} {
			add(500, 10*time.Millisecond, fmt.Sprintf("RELAY_LINGER=%dms", linger))
		}
		for _, inFlight := range []int{1, 4, 16} {
			add(500, 10*time.Millisecond, fmt.Sprintf("RELAY_IN_FLIGHT=%d", inFlight))
		}
	}
	for _, s := range all {
		got, err := r.atRate(ctx, s)
		if err != nil {
			return fmt.Errorf("%d events a second: %w", s.rate, err)
		}
		r.delays = append(r.delays, got)
		r.tell("%-14s %d events/s to %s at %2d ms %v: p50 %v, p99 %v, p99.9 %v", got.Contestant, got.PerSecond, got.To,
			got.Latency.Milliseconds(), s.settings, round(got.P50), round(got.P99), round(got.Top))
	}
	return nil
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
