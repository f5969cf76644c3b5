// Package task runs the goroutines of a session, each with an end that its starter waits for.
package task

import (
	"context"
	"reflect"
	"time"
)

// Task is a running goroutine.
type Task struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed
}

// Start runs a function in a goroutine. Its context ends with ctx or by [Task.End].
func Start(ctx context.Context, run func(context.Context) error) *Task {
	ctx, cancel := context.WithCancel(ctx)
	t := &Task{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.err = run(ctx)
	}()
	return t
}

// End cancels the task, waits until its function has returned, and returns the error of that. A
// second call returns the same.
func (t *Task) End() error {
	t.cancel()
	<-t.done
	return t.err
}

// FirstOf waits until a task ends by itself and returns its error. It returns nil if ctx ends
// first.
func FirstOf(ctx context.Context, tasks ...*Task) error {
	cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())}}
	for _, t := range tasks {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(t.done)})
	}
	first, _, _ := reflect.Select(cases)
	if first == 0 {
		return nil
	}
	return tasks[first-1].err
}

// Sleep waits for d and reports whether it did. It returns false as soon as ctx ends, and at once
// if ctx has ended.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
