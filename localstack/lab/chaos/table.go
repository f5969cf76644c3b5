package chaos

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// table prints a row for each run, and totals at the end. Several workers may add to it.
type table struct {
	mu     sync.Mutex
	out    io.Writer
	totals Totals
	began  time.Time
}

const (
	heading = "  seed pg relays destinations                events parked redriven discarded  twice  lost phantom " +
		"reordered other seconds  faults, and causes of repeated events"
	rowForm = "%6d %2d %6d %-27s %6d %6d %8d %9d %6d %5d %7d %9d %5d %7.1f  %s\n"
	// shownViolations limits the printed violations of a run. The saved history has all of them.
	shownViolations = 5
)

func newTable(out io.Writer) *table {
	fmt.Fprintln(out, heading)
	return &table{out: out, began: time.Now(), totals: Totals{
		Faults: map[string]int{}, Duplicates: map[string]int{}, Broken: map[checker.Rule]int{},
	}}
}

func (t *table) add(r *Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.totals.add(r)
	p, report := r.Plan, r.Report
	lost, phantom := report.Count(checker.Lost), report.Count(checker.Phantom)
	reordered := report.Count(checker.Reordered)
	why := listed(r.Faults)
	if p.Shape != own {
		why = p.Shape + ": " + why
	}
	if len(report.Duplicates) > 0 {
		why += "; twice because of " + listed(report.Duplicates)
	}
	fmt.Fprintf(t.out, rowForm, p.Seed, p.Version, p.Relays, kinds(p.Destinations), report.Committed, report.Parked,
		report.Redriven, report.Discarded,
		sum(report.Duplicates), lost, phantom, reordered, len(report.Violations)-lost-phantom-reordered,
		r.Took.Seconds(), why)
	if len(report.Violations) > 0 {
		t.failed(r)
	}
}

func (t *table) failed(r *Result) {
	for i, v := range r.Report.Violations {
		if i == shownViolations {
			fmt.Fprintf(t.out, "       and %d more\n", len(r.Report.Violations)-i)
			break
		}
		fmt.Fprintln(t.out, "      ", v)
	}
	again := fmt.Sprintf("make chaos SEED=%d RUNS=1", r.Plan.Seed)
	if r.Plan.Version > 0 {
		again += fmt.Sprintf(" PG=%d", r.Plan.Version)
	}
	fmt.Fprintf(t.out, "       history in %s; repeat with: %s\n", r.Dir, again)
}

// finish prints the totals and returns them.
func (t *table) finish() *Totals {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.totals
	s.Took = time.Since(t.began)
	fmt.Fprintf(t.out,
		"\n%d runs in %v: %d events committed, %d parked, %d redriven, %d discarded, %d arrived twice, %d lost, %d "+
			"phantom, %d reordered\n",
		s.Runs, s.Took.Round(time.Second), s.Events, s.Parked, s.Redriven, s.Discarded, sum(s.Duplicates),
		s.Broken[checker.Lost], s.Broken[checker.Phantom], s.Broken[checker.Reordered])
	fmt.Fprintf(t.out, "faults, %d: %s\n", sum(s.Faults), listed(s.Faults))
	fmt.Fprintf(t.out, "arrived twice because of: %s\n", listed(s.Duplicates))
	if len(s.Failed) == 0 {
		fmt.Fprintln(t.out, "every promise was kept")
		return s
	}
	for _, r := range s.Failed {
		fmt.Fprintf(t.out, "BROKEN in seed %d on Postgres %d: %v\n", r.Plan.Seed, r.Plan.Version,
			r.Report.Violations[0])
	}
	return s
}

func kinds(destinations []Kind) string {
	var names []string
	for _, k := range destinations {
		names = append(names, string(k))
	}
	return strings.Join(names, " ")
}

// listed returns counts such as "kill 3, stop 2", the largest first.
func listed(counts map[string]int) string {
	if len(counts) == 0 {
		return "none"
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, counts[name])
	}
	return strings.Join(names, ", ")
}
