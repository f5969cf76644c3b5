package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
)

// Up starts the stack and returns when the relay streams. It does not change a running stack,
// except that it replaces a relay in a container if its source has changed.
func (s *Stack) Up(ctx context.Context) (State, error) {
	unlock, err := s.exclusive()
	if err != nil {
		return State{}, err
	}
	defer unlock()
	defer s.watch("looking for what runs already")()
	state, err := s.load()
	if err != nil {
		return State{}, err
	}
	if err := s.refuseOthers(ctx, state); err != nil {
		return State{}, err
	}
	if state != nil {
		if up, err := s.alreadyUp(ctx, *state); up || err != nil {
			return *state, err
		}
		s.Insist = state.Way // restart the missing parts
	} else if err := errors.Join(s.reportEnding(), s.newcomer(ctx)); err != nil {
		return State{}, err
	}
	ways, err := s.ways()
	if err != nil {
		return State{}, err
	}
	w, err := s.choose(ctx, ways)
	if err != nil {
		return State{}, err
	}
	if err := w.up(ctx); err != nil {
		return State{}, err
	}
	return s.Load()
}

// alreadyUp reports whether everything runs. It returns an error if the stack runs in another way
// than requested.
func (s *Stack) alreadyUp(ctx context.Context, state State) (bool, error) {
	if s.Insist != "" && s.Insist != state.Way {
		return false, fmt.Errorf("the stack is up the %s way: run make localstack-down before STACK=%s", state.Way,
			s.Insist)
	}
	if s.Ports != state.Ports {
		s.Ports = state.Ports
		s.report("the stack keeps the ports it was started with")
	}
	parts := s.parts(ctx, state)
	if state.Ready && lacksMessaging(parts) {
		var err error
		if parts, err = s.restore(ctx, state, parts); err != nil {
			return false, err
		}
	}
	broken := broken(parts)
	if state.Ready && broken == "" {
		return s.current(ctx, state)
	}
	if state.Way != Compose {
		return false, fmt.Errorf("the stack is up the %s way, but %s: %s: %s", state.Way,
			cmp.Or(broken, "its start failed"), reasons(parts), remedy(state, parts))
	}
	if state.Ready {
		s.report("%s: %s: starting what does not run", broken, reasons(parts))
	}
	return false, nil
}

// current reports whether a running stack needs no change. In compose, the relay is rebuilt when
// its source changes.
func (s *Stack) current(ctx context.Context, state State) (bool, error) {
	if state.Way == Compose {
		outdated, err := (&compose{Stack: s}).outdated(ctx)
		if err != nil {
			return false, fmt.Errorf("compare the relay that runs with its source: %w", err)
		}
		if outdated {
			s.report("the source of the relay has changed: replacing the relay that runs")
			return false, nil
		}
	}
	s.report("the stack is already up the %s way", state.Way)
	return true, nil
}

// newcomer checks the requirements of a stack that has nothing yet.
func (s *Stack) newcomer(ctx context.Context) error {
	if err := s.Ports.checkDistinct(); err != nil {
		return err
	}
	if err := s.checkDisk(300 << 20); err != nil {
		return err
	}
	err := s.checkPorts()
	if err != nil && (&compose{Stack: s}).runs(ctx) {
		return nil // the ports are occupied by this stack, whose state was lost
	}
	return err
}

// platform is the part of the start that differs between the ways.
type platform interface {
	// startInfrastructure starts Postgres and the broker, and returns the superuser's URL.
	startInfrastructure(ctx context.Context) (superuserURL string, err error)
	// deploy creates the topic and the queues.
	deploy(ctx context.Context, templates messaging.Templates) (messaging.Outputs, error)
	// startRelay starts the relay with this destination.
	startRelay(ctx context.Context, destination string) error
	// failed returns the reason why a started part will never be ready, or nil.
	failed(ctx context.Context, part string) error
}

// bringUp starts the stack in its order: the publication before the slot, the topic before the
// relay.
func (s *Stack) bringUp(ctx context.Context, p platform) (messaging.Outputs, error) {
	var none messaging.Outputs
	templates, err := s.templates()
	if err != nil {
		return none, err
	}
	superuserURL, err := p.startInfrastructure(ctx)
	if err != nil {
		return none, err
	}
	s.begin("waiting for Postgres to accept connections (usually 3 seconds)")
	version, err := createDatabase(ctx, superuserURL)
	if err != nil {
		return none, err
	}
	s.report("Postgres %s on %s", version, local(s.Ports.Postgres))
	s.begin("waiting for the broker to answer (LocalStack usually 10 seconds)")
	if err := s.await(ctx, p, "broker", s.brokerReady); err != nil {
		return none, err
	}
	s.begin("creating the topic and its queues (LocalStack usually 5 seconds)")
	outputs, err := p.deploy(ctx, templates)
	if err != nil {
		return none, err
	}
	s.report("topic %s and its queue on %s", outputs.TopicArn, local(s.Ports.Broker))
	s.begin("migrating the database and starting the relay (usually 3 seconds)")
	if err := s.migrate(ctx); err != nil {
		return none, err
	}
	if err := p.startRelay(ctx, outputs.TopicArn); err != nil {
		return none, err
	}
	if err := s.await(ctx, p, "relay", s.relayReady); err != nil {
		return none, err
	}
	s.report("relay on %s", local(s.Ports.Relay))
	return outputs, nil
}

// migrate migrates both parts of the schema with the programs that do so in production.
func (s *Stack) migrate(ctx context.Context) error {
	for _, command := range [][]string{{s.binary("relay"), "migrate"}, {s.binary("migrate")}} {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = s.Root
		cmd.Env = []string{"DATABASE_URL=" + s.Ports.DatabaseURL()}
		if _, err := runCommand(ctx, time.Minute, cmd); err != nil {
			return fmt.Errorf("migrate the database: %w", err)
		}
	}
	return nil
}

// startTimeout is the time for a part to start, on a slow and busy machine.
const startTimeout = 2 * time.Minute

// await polls until the part is ready or has failed.
func (s *Stack) await(ctx context.Context, p platform, part string, ready func(context.Context) error) error {
	waiting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for polls := 1; ; polls++ {
		err := ready(waiting)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if polls%10 == 0 {
			if failure := p.failed(ctx, part); failure != nil {
				return fmt.Errorf("the %s does not come up: %w", part, failure)
			}
		}
		if polls%100 == 0 {
			s.begin("waiting for the %s: %v", part, err)
		}
		select {
		case <-waiting.Done():
			return fmt.Errorf("the %s is not ready after %s: %w: see make localstack-logs PART=%[1]s", part,
				startTimeout, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
