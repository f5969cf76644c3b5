package stack

import (
	"context"
	"fmt"
	"os"

	"github.com/outbox-relay/outbox-relay/localstack/pgtest"
)

// Down stops what Up started, and removes the data too if asked to. It is no error if nothing runs.
func (s *Stack) Down(ctx context.Context, removeData bool) error {
	unlock, err := s.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	state, err := s.load()
	if err != nil {
		return err
	}
	if state == nil && (&compose{Stack: s}).runs(ctx) {
		state = &State{Way: Compose, Ports: s.Ports} // it runs, and its state was lost
	}
	if state == nil {
		s.report("nothing of this folder runs")
	} else if err := s.stop(ctx, *state); err != nil {
		return err
	}
	if err := s.forget(); err != nil {
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

// keepOrRemoveData deals with the databases of all ways.
func (s *Stack) keepOrRemoveData(ctx context.Context, remove bool) error {
	dir, err := pgtest.Reachable(s.path("postgres"))
	if err != nil {
		return fmt.Errorf("find the folder of Postgres: %w", err)
	}
	entries, _ := os.ReadDir(dir) // there may be none
	c := &compose{Stack: s}
	stored := c.stored(ctx)
	if len(entries) == 0 {
		_ = os.Remove(dir) // it may have been made by looking
	}
	if len(entries) == 0 && !stored {
		s.report("there is no data")
		return nil
	}
	if !remove {
		s.report("orders and events stay in the database for the next time; make localstack-down DATA=1 removes them")
		return nil
	}
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
