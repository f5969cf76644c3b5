package sink_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// counting is a sink that counts its calls.
type counting struct {
	mu              sync.Mutex
	published, read int
}

func (c *counting) Publish(_ context.Context, batch []*sink.Message) ([]sink.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.published++
	return make([]sink.Result, len(batch)), nil
}

func (*counting) Limits() sink.Limits { return sink.Limits{FIFO: true, MaxMessageBytes: 7} }

func (c *counting) ReadLimits(context.Context) error {
	c.read++
	return nil
}

func TestALazySinkIsOpenedOnceByItsRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opened, inner := 0, &counting{}
		gone := errors.New("gone")
		l := sink.NewLazy(sink.Limits{FIFO: true, MaxMessageBytes: 5}, func(context.Context) (sink.Sink, error) {
			time.Sleep(time.Second)
			if opened++; opened == 1 {
				return nil, gone
			}
			return inner, nil
		})
		publish := func(n int) (failed int) {
			errs := make(chan error, n)
			for range n {
				go func() {
					_, err := l.Publish(t.Context(), []*sink.Message{{}})
					errs <- err
				}()
			}
			for range n {
				if err := <-errs; err != nil {
					failed++
				}
			}
			return failed
		}
		if err := l.ReadLimits(t.Context()); err != nil || l.Limits().MaxMessageBytes != 5 || opened != 0 {
			t.Errorf("before a request: %v, limits %+v, opened %d times", err, l.Limits(), opened)
		}
		if failed := publish(5); failed != 5 || opened != 1 {
			t.Errorf("%d of 5 requests failed, opened %d times", failed, opened)
		}
		if failed := publish(5); failed != 0 || opened != 2 || inner.published != 5 {
			t.Errorf("%d requests failed, opened %d times, published %d", failed, opened, inner.published)
		}
		if err := l.ReadLimits(t.Context()); err != nil || inner.read != 1 || l.Limits().MaxMessageBytes != 7 {
			t.Errorf("%v, read %d times, limits %+v", err, inner.read, l.Limits())
		}
	})
}
