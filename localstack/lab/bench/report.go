package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints the results and writes two files: a chart, and all figures as JSON.
func (r *run) report() error {
	drains := medians(r.results)
	fmt.Fprintf(r.Out,
		"\n%s\nMedians of %d rounds, of %d drains each for one row over a link. x source is the ratio to the source\n"+
			"just before and after, spread is that of the ratio over the rounds, x last is the ratio to the last\n"+
			"relay of RELAY_BINARY. Stolen time of the machine: %.1f %%.\n",
		r.machine(), r.Rounds, turns, 100*machineTime().stolenSince(r.started))
	r.table(func(w io.Writer) { printDrains(w, drains) })
	if len(r.delays) > 0 {
		r.table(func(w io.Writer) { printDelays(w, r.delays) })
	}
	if len(r.uses) > 0 {
		r.table(func(w io.Writer) { printUses(w, r.uses) })
	}
	if len(r.mixed) > 0 {
		r.table(func(w io.Writer) { printMixed(w, r.mixed) })
	}
	goals := slices.Concat(judge(drains, r.delays), judgeUses(r.uses), judgeMixed(r.mixed))
	r.table(func(w io.Writer) { printGoals(w, goals) })
	chart := filepath.Join(r.Dir, "bench.svg")
	if err := os.WriteFile(chart, []byte(drawChart(drains, r.machine())), 0o644); err != nil {
		return err
	}
	text, err := json.MarshalIndent(map[string]any{
		"machine": r.machine(), "drains": r.results, "delays": r.delays,
		"quotas": r.uses, "mixed": r.mixed,
	}, "", "  ")
	if err != nil {
		return err
	}
	figures := filepath.Join(r.Dir, "bench.json")
	if err := os.WriteFile(figures, text, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(r.Out, "\nThe chart is %s, every drain is in %s.\n", chart, figures)
	return nil
}

func (r *run) table(print func(io.Writer)) {
	fmt.Fprintln(r.Out)
	w := tabwriter.NewWriter(r.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	print(w)
	_ = w.Flush()
}

// key identifies the rounds of one measurement.
type key struct {
	shape, link, contestant, to string
	latency                     time.Duration
}

func (m result) key() key { return key{m.Shape, m.Link, m.Contestant, m.To, m.Latency} }

// medians returns the medians of all rounds of each measurement, in the order of the first rounds.
func medians(all []result) (medians []result) {
	type round struct {
		key
		number int
	}
	means := grouped(all, func(m result) round { return round{m.key(), m.Round} }, mean)
	return grouped(means, result.key, func(rounds []result) result {
		m := merge(rounds, func(of func(result) float64) float64 { return median(rounds, of) })
		m.Slowest, m.Spread = least(each(rounds, always, perSecondOf)), spread(rounds)
		return m
	})
}

// grouped returns one result for all results with the same key, in the order of their first ones.
func grouped[K comparable](all []result, key func(result) K, join func([]result) result) (joined []result) {
	groups := map[K][]result{}
	for _, m := range all {
		groups[key(m)] = append(groups[key(m)], m)
	}
	for _, m := range all {
		if group := groups[key(m)]; group != nil {
			joined = append(joined, join(group))
			delete(groups, key(m))
		}
	}
	return joined
}

// mean returns the means of a round.
func mean(turns []result) result {
	return merge(turns, func(of func(result) float64) (mean float64) {
		for _, m := range turns {
			mean += of(m) / float64(len(turns))
		}
		return mean
	})
}

// merge returns the results as one. Their peak is the highest one, and merged returns each other
// figure that is printed.
func merge(all []result, merged func(of func(result) float64) float64) result {
	m := all[0]
	m.PerSecond, m.Ratio = merged(perSecondOf), merged(ratioOf)
	m.OverLast = merged(func(m result) float64 { return m.OverLast })
	m.OverSDK = merged(func(m result) float64 { return m.OverSDK })
	m.Processor = merged(func(m result) float64 { return m.Processor })
	m.Server = merged(func(m result) float64 { return m.Server })
	m.Allocations = merged(func(m result) float64 { return m.Allocations })
	m.Requests = merged(func(m result) float64 { return m.Requests })
	m.Peak = most(each(all, always, func(m result) float64 { return m.Peak }))
	return m
}

func median(all []result, of func(result) float64) float64 {
	var values []float64
	for _, m := range all {
		values = append(values, of(m))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// isSource reports whether m is a measurement of the source.
func (m result) isSource() bool { return m.To == "" }

func ratioOf(m result) float64 { return m.Ratio }

func perSecondOf(m result) float64 { return m.PerSecond }

// spread returns the range of the ratio to the source over all rounds, relative to its median.
func spread(rounds []result) float64 {
	ratios := each(rounds, always, ratioOf)
	if middle := median(rounds, ratioOf); middle > 0 {
		return (most(ratios) - least(ratios)) / middle
	}
	return 0
}

func printDrains(w io.Writer, all []result) {
	row := func(columns ...string) { fmt.Fprintln(w, strings.Join(columns, "\t")+"\t") }
	row("backlog", "link", "contestant", "to", "broker", "events/s", "slowest", "x source", "spread", "x last", "x SDK",
		"µs CPU/event", "of the walsender", "allocations/event", "requests/event", "peak")
	for _, m := range all {
		row(m.Shape, m.Link, m.Contestant, m.To, brokerText(m), known(m.PerSecond, "%.0f"), known(m.Slowest, "%.0f"),
			known(m.Ratio, "%.2f"), known(100*m.Spread, "%.0f %%"), known(m.OverLast, "%.3f"), known(m.OverSDK, "%.1f"),
			known(m.Processor, "%.1f"), known(m.Server, "%.1f"), known(m.Allocations, "%.2f"),
			known(m.Requests, "%.3f"), known(m.Peak, "%.0f MB"))
	}
}

func brokerText(m result) string {
	if m.isSource() {
		return ""
	}
	return fmt.Sprintf("%d ms", m.Latency.Milliseconds())
}

// known formats a figure, or returns the empty string if it was not measured.
func known(figure float64, format string) string {
	if figure == 0 {
		return ""
	}
	return fmt.Sprintf(format, figure)
}

func printDelays(w io.Writer, all []delays) {
	fmt.Fprintln(w,
		"commit to broker\tlink\tevents/s\tto\tbroker\tsettings\tp50\tp99\tp99.9\trequests/event\tof a core\t")
	for _, d := range all {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d ms\t%s\t%v\t%v\t%v\t%.2f\t%.1f %%\t\n", d.Contestant, d.Link, d.PerSecond,
			d.To, d.Latency.Milliseconds(),
			strings.Trim(d.Settings, "[]"), round(d.P50), round(d.P99), round(d.Top), d.Requests, 100*d.Processor)
	}
}

// goal is one target of the relay. It is a ratio of figures of the same run if there is a
// contestant to compare with.
type goal struct {
	name    string
	reached string
	holds   bool
}

func printGoals(w io.Writer, goals []goal) {
	fmt.Fprintln(w, "target\treached\t\t")
	for _, g := range goals {
		fmt.Fprintf(w, "%s\t%s\t%s\t\n", g.name, g.reached, map[bool]string{true: "yes", false: "NO"}[g.holds])
	}
}
