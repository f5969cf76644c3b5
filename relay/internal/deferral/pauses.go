package deferral

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/pause"
)

// pausesInterval is how often the Worker reads the pauses.
const pausesInterval = time.Second

// pauses are the paused destinations, as they were read last.
type pauses struct {
	mu     sync.Mutex
	all    map[string]pause.Pause // by destination
	readAt time.Time
}

func (p *pauses) set(all []pause.Pause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all, p.readAt = make(map[string]pause.Pause, len(all)), time.Now()
	for _, one := range all {
		p.all[one.Destination] = one
	}
}

func (p *pauses) of(name string) (one pause.Pause, paused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one, paused = p.all[name]
	return one, paused
}

func (p *pauses) has(name string) bool {
	_, paused := p.of(name)
	return paused
}

// oldest returns how long the first pause has lasted, by the clock of this machine.
func (p *pauses) oldest() (oldest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.all {
		oldest = max(oldest, time.Since(one.Since))
	}
	return oldest
}

// readPauses reads the pauses, and has delivery send nothing to these destinations. Package relay
// pauses those of the start of a session before it sends anything.
func (w *Worker) readPauses(ctx context.Context) error {
	if time.Since(w.pauses.readAt) < pausesInterval {
		return nil
	}
	all, err := w.Store.Pauses(ctx)
	if err != nil {
		return err
	}
	w.pauses.set(all)
	w.Observer.PausedFor(w.pauses.oldest())
	for i, name := range w.Names {
		w.Senders.Pause(i, w.pauses.has(name))
	}
	return nil
}

// holdBack lets the events of a paused destination wait in the table, and records that the pause is
// in effect.
func (w *Worker) holdBack(ctx context.Context, destination int, p pause.Pause) error {
	if !w.Gate.holds(p.Destination) {
		if w.CannotPause != "" {
			return fmt.Errorf("events of %s, which is paused, cannot wait in the table: %s. They hold up the other "+
				"destinations once the window is full: run relay resume", p.Destination, w.CannotPause)
		}
		if err := w.begin(ctx, destination, w.pausedBy(p)); err != nil {
			return err
		}
	}
	if w.Gate.holds(p.Destination) && w.Senders.HasUncovered(destination) {
		return fmt.Errorf("an event for %s, which is paused, cannot wait in the table, because it is an emitted "+
			"message without a row, or the xid of its row is not that of its transaction. It holds up the other "+
			"destinations once the window is full: run relay resume", p.Destination)
	}
	return w.confirmPause(ctx, destination, p)
}

// pausedBy is the reason of a pause.
func (w *Worker) pausedBy(p pause.Pause) cause {
	text := "an operator paused the destination at " + p.Since.UTC().Format(time.RFC3339)
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return cause{
		text: text, since: p.Since,
		// In a recovery, the rows of this destination come one after the other.
		holds: func(events int) bool { return w.pauses.has(p.Destination) && (events > 0 || w.hasBegun()) },
	}
}

// confirmPause records that a pause is in effect, once no request is in flight.
func (w *Worker) confirmPause(ctx context.Context, destination int, p pause.Pause) error {
	if p.InEffectSince != nil || !w.Gate.holds(p.Destination) {
		return nil
	}
	release, err := w.Senders.Hold(ctx, destination)
	if err != nil {
		return err
	}
	release()
	return w.Store.ConfirmPause(ctx, p.Destination)
}
