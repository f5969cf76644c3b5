// Package chaos runs relays under random load and random faults, with a real Postgres and a broker
// that fails on demand. It records every event and fault, and package checker finds broken promises
// in that history. It is our own, because the checkers of Jepsen know no outbox, no replication
// slot and no FIFO group.
//
// The seed determines load, settings, faults and their times. Processes and networks are not
// deterministic, so a seed that failed once may need several runs to fail again.
package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options configure a series of runs.
type Options struct {
	Root     string   // root of the repository
	Dir      string   // directory of the built relay and of saved histories
	CacheDir string   // cache of server binaries
	Relay    string   // binary of the relay; empty builds it
	Seed     uint64   // seed of the first run; each further run has the next one
	Runs     int      // number of runs
	Versions []int    // major versions of Postgres, used in turn
	Workers  int      // concurrent runs, each with its own clusters
	Faults   []string // allowed faults; empty allows all
	Shapes   []string // shapes of the outbox table, used in turn; empty draws them
	Settings []string // settings of the relays that replace those that a seed draws
	Emitted  bool     // every run of a shape that can has emitted events, and no fault loses the log
	Short    bool     // halves the load
	Keep     bool     // saves the history of every run, not only of failed ones
	// Settle is the time after the last fault in which the next one of the missing events has to
	// arrive. Zero is a minute.
	Settle time.Duration
	// Until ends all runs as soon as it returns true for a result. Nil never does.
	Until func(*Result) bool
	Out   io.Writer
}

// ErrBroken reports that a run broke a promise, which the table names.
var ErrBroken = errors.New("a promise was broken")

// Run runs every seed, writes a table row for each, and returns the totals. It returns [ErrBroken]
// if a run broke a promise.
func Run(ctx context.Context, o Options) (*Totals, error) {
	if err := o.checkNames(); err != nil {
		return nil, err
	}
	if o.Relay == "" {
		var err error
		if o.Relay, err = BuildRelay(ctx, o.Root, filepath.Join(o.Dir, "relay")); err != nil {
			return nil, err
		}
	}
	o.Settle = cmp.Or(o.Settle, time.Minute)
	t := newTable(o.Out)
	seeds := make(chan uint64)
	ctx, finish := context.WithCancelCause(ctx)
	defer finish(nil)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(seeds)
		for i := range o.Runs {
			select {
			case seeds <- o.Seed + uint64(i):
			case <-ctx.Done():
				return nil
			}
		}
		return nil
	})
	for range max(1, o.Workers) {
		group.Go(func() error { return work(ctx, o, seeds, t, finish) })
	}
	err := group.Wait()
	if errors.Is(context.Cause(ctx), errFinished) {
		err = nil
	}
	totals := t.finish()
	if err == nil && len(totals.Failed) > 0 {
		err = ErrBroken
	}
	return totals, err
}

// checkNames returns an error if a named fault or shape does not exist. The runs would then have no
// fault, or the relay's own table, and prove nothing.
func (o Options) checkNames() error {
	var unknown []error
	for _, name := range o.Faults {
		if !slices.ContainsFunc(slices.Concat(faults, brokerFaults), func(f fault) bool { return f.name == name }) {
			unknown = append(unknown, fmt.Errorf("no fault has the name %q", name))
		}
	}
	for _, name := range o.Shapes {
		if !slices.ContainsFunc(shapes, func(s shape) bool { return s.name == name }) {
			unknown = append(unknown, fmt.Errorf("no shape has the name %q", name))
		}
	}
	return errors.Join(unknown...)
}

// errFinished ends the remaining runs when [Options.Until] holds.
var errFinished = errors.New("Options.Until holds")

// work runs seeds on its own clusters until there are no more.
func work(ctx context.Context, o Options, seeds <-chan uint64, t *table, finish context.CancelCauseFunc) error {
	clusters := &clusters{options: o, running: map[int]*cluster{}}
	defer clusters.stop()
	for seed := range seeds {
		result, err := one(ctx, o, seed, clusters)
		if err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		t.add(result)
		if o.Until != nil && o.Until(result) {
			finish(errFinished)
		}
	}
	return nil
}

// one runs a seed. Problems of the machine are errors, and problems of the relay are part of the
// result.
func one(ctx context.Context, o Options, seed uint64, clusters *clusters) (*Result, error) {
	plan := NewPlan(seed, o)
	cluster, err := clusters.of(ctx, plan.Version)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	r, err := newRun(ctx, o, plan, cluster)
	if err != nil {
		return nil, err
	}
	history, err := r.play(ctx)
	if err == nil && r.secured != nil && r.relays.haveStreamed() && !r.secured.isUsed() {
		err = errors.New("the relays came to the broker past TLS")
	}
	if closeErr := r.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	file, history, err := recorded(history)
	if err != nil {
		return nil, err
	}
	result := newResult(plan, history, r.relays.haveStreamed(), time.Since(began))
	if o.Keep || len(result.Report.Violations) > 0 {
		result.Dir, err = r.save(file, result)
	}
	return result, err
}

// BuildRelay builds the relay from the repository at root, with additional flags for go build.
func BuildRelay(ctx context.Context, root, binary string, flags ...string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", append(append([]string{"build"}, flags...), "-o", binary,
		"./relay/cmd/relay")...)
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the relay: %w\n%s", err, output)
	}
	return binary, nil
}
