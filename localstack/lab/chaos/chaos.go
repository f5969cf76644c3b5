// Package chaos runs relays under random load and random faults, with a real Postgres and a broker that fails on demand,
// records everything that happens, and has package checker find out whether a promise was broken.
//
// A run follows from its seed: load, settings, faults and their times. Processes and networks have a will of their own, so
// a seed that failed once may have to run more than once to fail again.
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
	"time"

	"golang.org/x/sync/errgroup"
)

// Options say what to run.
type Options struct {
	Root     string   // the checkout
	Dir      string   // where the relay is built and the history of a failed run is kept
	CacheDir string   // where server binaries are kept
	Relay    string   // binary of the relay; empty: it is built
	Seed     uint64   // of the first run, each further run has the next
	Runs     int      // how many
	Versions []int    // of Postgres, in turns
	Workers  int      // runs at the same time, each with clusters of its own
	Faults   []string // only these; empty: all
	Short    bool     // half of the load
	Keep     bool     // keep the history of every run, not only of a failed one
	// Settle is what a run has for everything to arrive once nobody is in its way any more; zero: a minute.
	Settle time.Duration
	// Until ends everything as soon as it holds for the result of a run; nil: never.
	Until func(*Result) bool
	Out   io.Writer
}

// ErrBroken says that a run broke a promise. The table says which.
var ErrBroken = errors.New("a promise was broken")

// Run runs every seed and writes a table row for each, and totals. It returns the totals, and [ErrBroken] if a run broke a
// promise.
func Run(ctx context.Context, o Options) (*Totals, error) {
	if o.Relay == "" {
		var err error
		if o.Relay, err = BuildRelay(ctx, o.Root, filepath.Join(o.Dir, "relay")); err != nil {
			return nil, err
		}
	}
	o.Settle = cmp.Or(o.Settle, time.Minute)
	t := newTable(o.Out)
	seeds := make(chan uint64)
	ctx, enough := context.WithCancelCause(ctx)
	defer enough(nil)
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
		group.Go(func() error { return work(ctx, o, seeds, t, enough) })
	}
	err := group.Wait()
	if errors.Is(context.Cause(ctx), errEnough) {
		err = nil
	}
	totals := t.finish()
	if err == nil && len(totals.Failed) > 0 {
		err = ErrBroken
	}
	return totals, err
}

// errEnough ends the runs that are under way when [Options.Until] holds.
var errEnough = errors.New("this was enough")

// work runs seeds on clusters of its own, until there are no more.
func work(ctx context.Context, o Options, seeds <-chan uint64, t *table, enough context.CancelCauseFunc) error {
	clusters := &clusters{options: o, running: map[int]*cluster{}}
	defer clusters.stop()
	for seed := range seeds {
		result, err := one(ctx, o, seed, clusters)
		if err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		t.add(result)
		if o.Until != nil && o.Until(result) {
			enough(errEnough)
		}
	}
	return nil
}

// one runs a seed. What goes wrong with the machine itself is an error, what goes wrong with the relay stands in the result.
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
	if closeErr := r.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	result := newResult(plan, history, time.Since(began))
	if o.Keep || len(result.Report.Violations) > 0 {
		result.Kept, err = r.keep(history, result)
	}
	return result, err
}

// BuildRelay builds the relay of the checkout root, with further flags for go build.
func BuildRelay(ctx context.Context, root, binary string, flags ...string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", append(append([]string{"build"}, flags...), "-o", binary, "./relay/cmd/relay")...)
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the relay: %w\n%s", err, output)
	}
	return binary, nil
}
