package chaos

import (
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// Result is the outcome of one run.
type Result struct {
	Plan   *Plan
	Report *checker.Report
	Faults map[string]int // by kind
	Took   time.Duration
	Dir    string // directory of a saved history
	// Streamed says that a relay of the run streamed at some time.
	Streamed bool
}

func newResult(plan *Plan, h *checker.History, streamed bool, took time.Duration) *Result {
	r := &Result{Plan: plan, Report: checker.Check(h), Faults: map[string]int{}, Took: took, Streamed: streamed}
	for _, f := range h.Faults {
		r.Faults[f.Kind]++
	}
	return r
}

// Totals are the results of many runs.
type Totals struct {
	Runs       int
	Events     int
	Parked     int // dead letters in any state
	Redriven   int
	Discarded  int
	Faults     map[string]int
	Duplicates map[string]int
	Broken     map[checker.Rule]int
	Failed     []*Result
	Took       time.Duration
}

func (t *Totals) add(r *Result) {
	t.Runs++
	t.Events += r.Report.Committed
	t.Parked += r.Report.Parked
	t.Redriven += r.Report.Redriven
	t.Discarded += r.Report.Discarded
	addAll(t.Faults, r.Faults)
	addAll(t.Duplicates, r.Report.Duplicates)
	for _, v := range r.Report.Violations {
		t.Broken[v.Rule]++
	}
	if len(r.Report.Violations) > 0 {
		t.Failed = append(t.Failed, r)
	}
}

func addAll(to, from map[string]int) {
	for name, n := range from {
		to[name] += n
	}
}

func sum(counts map[string]int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}
