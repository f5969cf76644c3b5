package chaos_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos"
)

// root is the root of the repository.
var root = filepath.Join("..", "..", "..")

// options uses the Postgres of all other tests: the newest one on this machine, or PGTEST_VERSION.
func options(t *testing.T) chaos.Options {
	t.Helper()
	version := 0
	if text := os.Getenv("PGTEST_VERSION"); text != "" {
		var err error
		if version, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	absolute, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	local := filepath.Join(absolute, ".local")
	return chaos.Options{
		Root: absolute, Dir: filepath.Join(local, "chaos"), CacheDir: filepath.Join(local, "cache"),
		Versions: []int{version}, Workers: 2, Out: t.Output(), Short: true,
	}
}

// A short run of `make chaos`. The seeds cover every kind of destination and one run without
// faults, in which no event may arrive twice.
func TestRandomFaultsBreakNoPromise(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Seed, o.Runs = 38, 6
	var kinds []chaos.Kind
	for i := range o.Runs {
		kinds = append(kinds, chaos.NewPlan(o.Seed+uint64(i), o).Destinations...)
	}
	for _, kind := range []chaos.Kind{chaos.FIFOQueue, chaos.StandardQueue, chaos.FIFOTopic, chaos.StandardTopic} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("no run has a destination of kind %s: choose other seeds", kind)
		}
	}
	o.Relay = build(t, o)
	totals, err := chaos.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if totals.Runs != o.Runs || totals.Events == 0 {
		t.Errorf("%d runs with %d events", totals.Runs, totals.Events)
	}
}

// For tables of other projects the relay keeps the promises of relay/docs/presets.md and
// relay/docs/table.md under faults too.
func TestForeignTablesKeepTheirPromises(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Shapes, o.Seed = chaos.Shapes(), 1
	o.Runs, o.Workers = len(o.Shapes), 3
	o.Relay = build(t, o)
	totals, err := chaos.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if totals.Runs != o.Runs || totals.Events == 0 {
		t.Errorf("%d runs with %d events", totals.Runs, totals.Events)
	}
}

// build builds the relay into a directory of the test, with additional flags for go build.
func build(t *testing.T, o chaos.Options, flags ...string) string {
	t.Helper()
	relay, err := chaos.BuildRelay(t.Context(), o.Root, filepath.Join(t.TempDir(), "relay"), flags...)
	if err != nil {
		t.Fatal(err)
	}
	return relay
}

func TestUnknownNamesAreRefused(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Relay, o.Faults, o.Shapes = "none", []string{"kill", "slot dropped"}, []string{"debezium", "outbox"}
	_, err := chaos.Run(t.Context(), o)
	if err == nil {
		t.Fatal("runs without a fault are made")
	}
	isUnknown := map[string]bool{"kill": false, "slot dropped": true, "debezium": false, "outbox": true}
	for name, want := range isUnknown {
		if strings.Contains(err.Error(), strconv.Quote(name)) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestSeedDeterminesThePlan(t *testing.T) {
	t.Parallel()
	o := options(t)
	for seed := range uint64(100) {
		plan, again := chaos.NewPlan(seed, o), chaos.NewPlan(seed, o)
		if plan.String() != again.String() || !slices.Equal(plan.Steps, again.Steps) ||
			!slices.Equal(plan.BrokerFaults, again.BrokerFaults) {
			t.Fatalf("seed %d has two plans:\n%v %v\n%v %v", seed, plan, plan.Steps, again, again.Steps)
		}
		if seed%10 == 0 && !plan.Calm() {
			t.Errorf("seed %d is not calm", seed)
		}
	}
}
