package task_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

func untilItEnds(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestFirstOfReturnsTheErrorOfTheFirstEnd(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	longer := task.Start(t.Context(), untilItEnds)
	defer longer.End()
	first := task.Start(t.Context(), func(context.Context) error { return failed })
	if err := task.FirstOf(t.Context(), longer, first); !errors.Is(err, failed) {
		t.Errorf("FirstOf returns %v, want the error of the task that ended", err)
	}
}

func TestFirstOfReturnsNilWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	running := task.Start(t.Context(), untilItEnds)
	defer running.End()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := task.FirstOf(ctx, running); err != nil {
		t.Errorf("FirstOf returns %v", err)
	}
}

func TestEndReturnsTheErrorEachTime(t *testing.T) {
	t.Parallel()
	running := task.Start(t.Context(), untilItEnds)
	for range 2 {
		if err := running.End(); !errors.Is(err, context.Canceled) {
			t.Errorf("End returns %v, want that the context was cancelled", err)
		}
	}
}

func TestSleepReportsWhetherItSlept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !task.Sleep(t.Context(), time.Hour) || time.Since(began) != time.Hour {
			t.Errorf("Sleep ended after %v, want an hour", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if task.Sleep(ctx, time.Hour) || time.Since(began) != time.Hour+time.Minute {
			t.Error("Sleep outlives its context")
		}
		if task.Sleep(ctx, 0) {
			t.Error("Sleep reports that it slept although its context has ended")
		}
	})
}
