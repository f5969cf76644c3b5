package relay

import (
	"context"
	"reflect"
)

// task is a goroutine with an end that somebody waits for.
type task struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed
}

func start(ctx context.Context, run func(context.Context) error) *task {
	ctx, cancel := context.WithCancel(ctx)
	t := &task{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.err = run(ctx)
	}()
	return t
}

// end cancels the task and waits for it.
func (t *task) end() {
	t.cancel()
	<-t.done
}

// firstOf waits until ctx ends, and then returns nil, or one of the tasks does, and then returns its error.
func firstOf(ctx context.Context, tasks ...*task) error {
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
