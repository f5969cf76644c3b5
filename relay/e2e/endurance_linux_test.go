package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtest"
)

// maxMemory bounds the memory of a relay with the default settings: a container of 64 MB is enough.
const maxMemory = 64 << 20

// shipped builds the relay as it ships. The race detector would need several times the memory.
var shipped = sync.OnceValues(func() (path string, err error) {
	path = relayBinary + "-as-shipped"
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "../cmd/relay")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the relay: %w\n%s", err, output)
	}
	return path, nil
})

// startShipped starts the relay as it ships and waits until it streams.
func (w *testEnv) startShipped() *process {
	w.t.Helper()
	path, err := shipped()
	w.must(err)
	p := w.startBinary(path, "RELAY_LOG_LEVEL=info")
	p.awaitLog("event=streaming")
	return p
}

// memory returns the resident set of the relay in bytes: the current size and the peak.
// https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
func (p *process) memory() (now, peak int) {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	kilobytes := func(name string) int {
		_, after, _ := strings.Cut(string(status), name+":")
		number, _, _ := strings.Cut(strings.TrimSpace(after), " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			p.t.Fatalf("%s of the relay: %v", name, err)
		}
		return n
	}
	return kilobytes("VmRSS") << 10, kilobytes("VmHWM") << 10
}

// checkMemory fails the test if the relay has ever used too much memory, and returns its peak.
func (p *process) checkMemory() (peak int) {
	p.t.Helper()
	_, peak = p.memory()
	if peak >= maxMemory {
		p.t.Errorf("the relay used %.1f MB, want less than %d", megabytes(peak), maxMemory>>20)
	}
	return peak
}

func megabytes(bytes int) float64 { return float64(bytes) / (1 << 20) }

// arrivals counts the deliveries of each event by the number in its body. It keeps nothing else,
// because a broker that keeps every message would need more memory than there is.
type arrivals struct {
	mu       sync.Mutex
	times    []uint8 // by number
	distinct int
	again    int
	lowest   int // lowest number that arrived since the last takeLowest
}

// newCountingEnv returns an environment whose broker forgets the messages that it has delivered.
func newCountingEnv(t *testing.T) (*testEnv, *arrivals) {
	t.Helper()
	a := &arrivals{}
	return newBareEnv(t, outboxtest.NewDatabase(t, 0), "orders.fifo", fakeaws.Options{Retain: 1000, Accepted: a.add}), a
}

func (a *arrivals) add(_ string, r fakeaws.Receipt) {
	var body struct{ N int }
	if err := json.Unmarshal([]byte(r.Body), &body); err != nil {
		panic(err) // the test itself wrote the body
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if body.N >= len(a.times) {
		a.times = append(a.times, make([]uint8, body.N+1)...)
	}
	if a.times[body.N]++; a.times[body.N] > 1 {
		a.again++
	} else {
		a.distinct++
	}
	a.lowest = min(a.lowest, body.N)
}

// count returns the number of distinct events that have arrived, and the number of repetitions.
func (a *arrivals) count() (distinct, again int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.distinct, a.again
}

// takeLowest returns the lowest number that has arrived since the last call.
func (a *arrivals) takeLowest() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	lowest := a.lowest
	a.lowest = len(a.times)
	return lowest
}
