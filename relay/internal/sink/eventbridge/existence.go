package eventbridge

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// codeMissing is the code of a bus that does not exist.
const codeMissing = "ResourceNotFoundException"

// lookInterval is how long a bus counts as existing. EventBridge deletes no bus that has a rule. So
// before a bus is gone, its last rule is, and events that no rule matches reach nothing either.
const lookInterval = 10 * time.Second

// lookTimeout leaves most of a request's time to the request itself.
const lookTimeout = 2 * time.Second

// existence is the sink's knowledge of its bus. EventBridge answers a PutEvents for a bus that does
// not exist as it answers any other.
type existence struct {
	looking sync.Mutex
	lookAt  atomic.Int64          // when to look next, in nanoseconds
	missing atomic.Pointer[error] // nil if the bus existed when the sink looked last
}

// learn stores the result of a look. Only a definite answer changes it.
func (e *existence) learn(err error) {
	e.lookAt.Store(time.Now().Add(lookInterval).UnixNano())
	switch {
	case err == nil:
		e.missing.Store(nil)
	case sink.Code(err) == codeMissing:
		e.missing.Store(&err)
	}
}

// isDue reports whether a request has to be confirmed.
func (e *existence) isDue() bool {
	return e.missing.Load() != nil || time.Now().UnixNano() >= e.lookAt.Load()
}

// confirm looks for the bus, unless another request does so at the moment. It returns an error if
// the bus is missing.
func (e *existence) confirm(ctx context.Context, look func(context.Context) error) error {
	if e.looking.TryLock() {
		defer e.looking.Unlock()
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		e.learn(look(ctx))
	}
	if missing := e.missing.Load(); missing != nil {
		return *missing
	}
	return nil
}
