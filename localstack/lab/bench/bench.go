// Package bench measures the relay, as it ships, against the fastest way to read the log and against the plain way to publish it.
//
// Everything that is compared is measured in the same run, on the same server and the same log, in turns: absolute figures are
// those of a machine and of a moment, ratios are not.
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

// Options say what to measure.
type Options struct {
	Root   string // the checkout
	Dir    string // for what is built and for the results
	Cache  string // for server binaries that are fetched
	Quick  bool   // two minutes instead of a quarter of an hour
	Rounds int    // 0: three, or one if it is quick
	Events int    // of each backlog of one-row transactions; 0: 300,000, or 200,000 if it is quick
	Only   string // cases whose name has this in it; empty: all
	// Relays are binaries to compare. None: the relay of the checkout, which is built.
	Relays []string
	// Self is the command that runs [Broker.Serve] in a process of its own.
	Self func(BrokerOptions) *exec.Cmd
	Out  io.Writer
}

// BrokerOptions say how to run a [Broker].
type BrokerOptions struct {
	Latency          time.Duration
	PerSecond, Burst float64 // requests of its quota; zero: without one
	Certificate, Key string  // files for [Secure]; empty: without TLS
}

// run is one run of the benchmark.
type run struct {
	Options
	server  *pgtest.Server
	tls     certificate
	results []result
	delays  []delays
	uses    []use
	began   time.Time
	started ticks
}

// Run measures and prints what it has measured.
func Run(ctx context.Context, options Options) error {
	r := &run{Options: options, began: time.Now(), started: machineTime()}
	if r.Rounds == 0 {
		r.Rounds = pick(r.Quick, 1, 3)
	}
	if r.Events == 0 {
		r.Events = pick(r.Quick, 200_000, 300_000)
	}
	if err := r.build(ctx); err != nil {
		return err
	}
	r.tell("starting Postgres")
	var err error
	if r.tls, err = newCertificate(r.Dir); err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	r.server, err = pgtest.Start(ctx, pgtest.Options{CacheDir: r.Cache, TLS: &r.tls.KeyPair, Settings: map[string]string{
		"shared_buffers": "256MB", "max_wal_size": "16GB", "checkpoint_timeout": "1h", "track_commit_timestamp": "on", "autovacuum": "off",
	}})
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
	r.tell("building the relay")
	path := filepath.Join(r.Dir, "relay")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, "./relay/cmd/relay")
	cmd.Dir, cmd.Env = r.Root, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the relay: %w\n%s", err, output)
	}
	r.Relays = []string{path}
	return nil
}

// tell shows progress.
func (r *run) tell(format string, args ...any) {
	fmt.Fprintf(r.Out, "%6.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// machine says where the figures come from.
func (r *run) machine() string {
	return fmt.Sprintf("%d cores (%s/%s), Postgres %s without fsync, relay, Postgres and broker on the same cores; %s",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, r.server.Version(), time.Now().Format("2006-01-02"))
}
