package chaos

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// processes runs the relays of a run, as a container service would: it restarts a relay that ends
// by itself.
type processes struct {
	run  *run
	wait sync.WaitGroup

	mu     sync.Mutex
	places []*relay // nil means that no relay should run there
	all    []*relay
}

const restartAfter = 200 * time.Millisecond

// start starts the relay of a place, unless it runs.
func (f *processes) start(place int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.places[place] != nil {
		return nil
	}
	p, err := f.run.startRelay(fmt.Sprintf("relay-%d", len(f.all)+1), place)
	if err != nil {
		return fmt.Errorf("start a relay: %w", err)
	}
	f.places[place] = p
	f.all = append(f.all, p)
	f.wait.Go(func() { f.watch(p) })
	return nil
}

func (f *processes) startAll() error {
	for place := range f.places {
		if err := f.start(place); err != nil {
			return err
		}
	}
	return nil
}

// watch restarts p if it ends without being removed from its place.
func (f *processes) watch(p *relay) {
	<-p.process.Done()
	if !f.isAt(p) {
		return
	}
	if !f.mayHaveEnded(p) {
		f.run.recorder.problem("%s ended by itself: %v: %s", p.name, p.process.Err(), lastLogLines(p))
	}
	time.Sleep(restartAfter)
	again := func() {
		if f.remove(p) {
			p.kill() // releases the supervisor of the process
			_ = f.start(p.place)
		}
	}
	if p.hasHalted() {
		f.run.recoverHalted(again)
		return
	}
	again()
}

// hasHalted reports whether the relay ended because an operator has to decide.
func (p *relay) hasHalted() bool {
	_, is := p.log.find(halted, 0)
	return is
}

// mayHaveEnded reports whether p, which has ended, had a reason to end by itself.
func (f *processes) mayHaveEnded(p *relay) bool {
	_, starting := p.log.find("cannot start", 0)
	return starting || p.hasHalted() || f.run.hasRefused(p)
}

func lastLogLines(p *relay) string {
	lines := p.log.copy()
	var last []string
	for _, line := range lines[max(0, len(lines)-3):] {
		last = append(last, line.Text)
	}
	return strings.Join(last, " | ")
}

func (f *processes) isAt(p *relay) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.places[p.place] == p
}

// remove empties the place of p and reports whether p was there.
func (f *processes) remove(p *relay) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p == nil || f.places[p.place] != p {
		return false
	}
	f.places[p.place] = nil
	return true
}

func (f *processes) at(place int) *relay {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.places[place]
}

// running returns the relays that run or are being restarted.
func (f *processes) running() []*relay {
	f.mu.Lock()
	defer f.mu.Unlock()
	var running []*relay
	for _, p := range f.places {
		if p != nil {
			running = append(running, p)
		}
	}
	return running
}

// holder returns the relay that streams, or any relay if none does.
func (f *processes) holder() *relay {
	running := f.running()
	for _, p := range running {
		if p.log.isStreaming() {
			return p
		}
	}
	if len(running) == 0 {
		return nil
	}
	return running[0]
}

func (f *processes) kill(p *relay) {
	if f.remove(p) {
		p.kill()
	}
}

// stop ends p with SIGTERM. It reports whether p delivered all events that it had read.
func (f *processes) stop(p *relay) (drained bool, err error) {
	if !f.remove(p) {
		return true, nil
	}
	err = p.stop()
	_, left := p.log.find("event=drain_timed_out", 0)
	if f.mayHaveEnded(p) {
		err = nil
	}
	return !left, err
}

// end resumes and kills every relay, and waits for the goroutines that watch them.
func (f *processes) end() {
	for _, p := range f.running() {
		p.signal(syscall.SIGCONT)
		f.kill(p)
	}
	f.wait.Wait()
	for _, p := range f.running() { // started while end waited
		f.kill(p)
	}
	f.wait.Wait()
}

// haveStreamed reports whether any of the relays streamed at some time.
func (f *processes) haveStreamed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.all, func(p *relay) bool { return p.log.streamedAfter(0) < math.MaxInt64 })
}

// awaitStreaming waits until one of the relays streams.
func (f *processes) awaitStreaming(ctx context.Context, timeout time.Duration) bool {
	return await(ctx, timeout, func() bool {
		p := f.holder()
		return p != nil && p.log.isStreaming()
	})
}
