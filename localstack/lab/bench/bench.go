// Package bench measures the relay as it ships. It compares the relay with the fastest reader of
// the log, and with a simple publisher.
//
// All compared contestants run in turns on the same server and the same log. Absolute figures
// depend on the machine and the moment, and ratios do not. The package is our own because load
// generators for HTTP or SQL measure neither the time from commit to broker nor a ratio to
// pg_recvlogical.
package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// Options configure a benchmark.
type Options struct {
	Root   string // root of the repository
	Dir    string // directory of built programs and results
	Cache  string // cache of server binaries
	Quick  bool   // a few minutes instead of a quarter of an hour
	Rounds int    // 0 is three, or one with Quick
	// events of one-row transactions that a contestant drains in a round; 0 is 400,000, or 200,000
	// with Quick
	Events int
	Only   string // only cases whose name contains this; empty selects all
	// Relays are the binaries to compare. If empty, the relay of the repository is built.
	Relays []string
	// Self returns the command that runs [Broker.Serve] in its own process.
	Self func(BrokerOptions) *exec.Cmd
	Out  io.Writer
}

// BrokerOptions configure a [Broker].
type BrokerOptions struct {
	Latency          time.Duration
	PerSecond        float64 // quota in requests a second; zero is unlimited
	Burst            int     // requests above the quota that are accepted at once
	Certificate, Key string  // files for [Secure]; empty disables TLS
}

// run is one run of the benchmark.
type run struct {
	Options
	server  *pgtest.Server
	tls     certificate
	results []result
	delays  []delays
	uses    []use
	mixed   []mixed
	round   int
	turn    int // counts the turns of all rounds
	began   time.Time
	started ticks
}

// Run measures and prints the results.
func Run(ctx context.Context, options Options) error {
	r := &run{Options: options, began: time.Now(), started: machineTime()}
	if r.Rounds == 0 {
		r.Rounds = pick(r.Quick, 1, 3)
	}
	if r.Events == 0 {
		r.Events = pick(r.Quick, 200_000, 400_000)
	}
	if err := r.build(ctx); err != nil {
		return err
	}
	r.logf("starting Postgres")
	var err error
	if r.tls, err = newCertificate(r.Dir); err != nil {
		return fmt.Errorf("create a certificate: %w", err)
	}
	r.server, err = pgtest.Start(ctx, pgtest.Options{
		CacheDir: r.Cache, TLS: &r.tls.KeyPair,
		Settings: map[string]string{
			"shared_buffers": "256MB", "max_wal_size": "16GB", "checkpoint_timeout": "1h",
			"track_commit_timestamp": "on",
			"autovacuum":             "off",
		},
	})
	if err != nil {
		return err
	}
	defer func() { _ = r.server.Stop(pgtest.Immediate) }()
	if err := r.measure(ctx); err != nil {
		return err
	}
	return r.report()
}

func pick[T any](quick bool, small, large T) T {
	if quick {
		return small
	}
	return large
}

func (r *run) build(ctx context.Context) error {
	if len(r.Relays) > 0 {
		return nil
	}
	r.logf("building the relay")
	path := filepath.Join(r.Dir, "relay")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path,
		"./relay/cmd/relay")
	cmd.Dir, cmd.Env = r.Root, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the relay: %w\n%s", err, output)
	}
	r.Relays = []string{path}
	return nil
}

// logf prints a line of progress with the elapsed time.
func (r *run) logf(format string, args ...any) {
	fmt.Fprintf(r.Out, "%6.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// machine describes the machine and the conditions of the figures.
func (r *run) machine() string {
	return fmt.Sprintf("%d cores (%s/%s), Postgres %s without fsync, relay, Postgres and broker on the same cores; %s",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, r.server.Version(), time.Now().Format("2006-01-02"))
}
