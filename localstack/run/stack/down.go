package stack

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// Down stops the stack, and removes its data if removeData is set. It is no error if nothing runs.
func (s *Stack) Down(ctx context.Context, removeData bool) error {
	unlock, err := s.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	defer s.watch("looking for what runs")()
	state, err := s.load()
	if err != nil {
		return err
	}
	if state == nil && (&compose{Stack: s}).runs(ctx) {
		state = &State{Way: Compose, Ports: s.Ports} // it runs, but its state file was lost
	}
	if state == nil {
		s.report("nothing of this folder runs")
	} else if err := s.stop(ctx, *state); err != nil {
		return err
	}
	if err := errors.Join(s.forget(), s.forgetEnding()); err != nil {
		return err
	}
	return s.keepOrRemoveData(ctx, removeData)
}

func (s *Stack) stop(ctx context.Context, state State) error {
	w, err := s.wayNamed(state.Way)
	if err != nil {
		return err
	}
	if err := w.down(ctx, state); err != nil {
		return err
	}
	s.report("stopped")
	return nil
}

// keepOrRemoveData keeps or removes the databases of all ways.
func (s *Stack) keepOrRemoveData(ctx context.Context, remove bool) error {
	dir, err := pgtest.Reachable(s.path("postgres"))
	if err != nil {
		return fmt.Errorf("find the folder of Postgres: %w", err)
	}
	entries, _ := os.ReadDir(dir) // the folder may not exist
	c := &compose{Stack: s}
	stored := c.stored(ctx)
	if len(entries) == 0 {
		_ = os.Remove(dir) // the check itself may have created it
	}
	if len(entries) == 0 && !stored {
		s.report("there is no data")
		return nil
	}
	if !remove {
		s.report("orders and events stay in the database for the next time; make localstack-down DATA=1 removes them")
		return nil
	}
	s.begin("removing the data")
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the data: %w", err)
	}
	if stored {
		if err := c.removeVolume(ctx); err != nil {
			return err
		}
	}
	s.report("removed the data")
	return nil
}
