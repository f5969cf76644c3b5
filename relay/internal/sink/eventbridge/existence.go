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

// lookInterval is how long a bus counts as existing after a check. EventBridge deletes no bus that
// has a rule. So a deleted bus had no rule before, and its events reached no target in any case.
const lookInterval = 10 * time.Second

// lookTimeout leaves most of a request's time to the request itself.
const lookTimeout = 2 * time.Second

// existence records whether the bus exists. The answer to PutEvents does not show it: EventBridge
// accepts events for a bus that does not exist.
type existence struct {
	looking sync.Mutex
	lookAt  atomic.Int64          // time of the next check, in nanoseconds since 1970
	missing atomic.Pointer[error] // nil if the bus existed at the last check
}

// learn stores the result of a check. Only a definite answer changes the record.
func (e *existence) learn(err error) {
	e.lookAt.Store(time.Now().Add(lookInterval).UnixNano())
	switch {
	case err == nil:
		e.missing.Store(nil)
	case sink.Code(err) == codeMissing:
		e.missing.Store(&err)
	}
}

// isDue reports whether a request has to wait for a check.
func (e *existence) isDue() bool {
	return e.missing.Load() != nil || time.Now().UnixNano() >= e.lookAt.Load()
}

// confirm checks that the bus exists, unless another request is checking it at the moment. It
// returns an error if the bus does not exist.
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
