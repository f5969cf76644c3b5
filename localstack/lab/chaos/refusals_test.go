package chaos

import (
	"math/rand/v2"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
)

func TestAFindingExplainsTheEndOfARelay(t *testing.T) {
	t.Parallel()
	const finding = "relay: row security of table public.events applies to the role relay_0:\n(two lines)"
	for _, test := range []struct {
		name, printed string
		until         time.Duration
		clean         bool
	}{
		{"while the fault lasts", finding, time.Minute, true},
		{"long after it", finding, -1, false},
		{"with another error", "relay: bind: address already in use", time.Minute, false},
		{"with the finding in a warning alone", "time=1 err=\"row security of table\"", time.Minute, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := &run{clock: func() time.Duration { return 0 }}
			r.relays = &processes{run: r, places: make([]*relay, 1)}
			r.refusals.allow("row security of table", test.until)
			p := &relay{name: "relay-1", log: &relayLog{clock: r.clock}}
			cmd := exec.Command("/bin/sh", "-c", `echo "$1"; exit 1`, "sh", test.printed)
			cmd.Stdout = p.log
			var err error
			if p.process, err = procgroup.Start(cmd, procgroup.Orphan{}); err != nil {
				t.Fatal(err)
			}
			<-p.process.Done()
			r.relays.places[0] = p
			if _, err := r.relays.stop(p); (err == nil) != test.clean {
				t.Errorf("a relay that ended %s: %v", test.name, err)
			}
		})
	}
}

func TestRefusedEventsAreProvenInTime(t *testing.T) {
	t.Parallel()
	r := &run{options: Options{Settle: time.Minute}, plan: &Plan{}, shape: shapeOf(own)}
	d := &destination{limit: 10, refused: new(atomic.Int32)}
	random := rand.New(rand.NewPCG(1, 1))
	refused := 0
	for range 2_000 {
		if r.newEvent(random, aggregate{destination: d, fragile: true}).Repairable {
			refused++
		}
	}
	if took := time.Duration(refused) * refusalTakes; refused == 0 || took > r.options.Settle/2 {
		t.Errorf("%d refused events take %v of %v", refused, took, r.options.Settle)
	}
}
