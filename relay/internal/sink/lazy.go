package sink

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/singleflight"
)

// Lazy is a sink that its first request opens. A destination that gets no event costs no request,
// and one that cannot be opened holds up no other: the requests to it fail, and are retried like
// those to any unavailable destination.
type Lazy struct {
	open     func(context.Context) (Sink, error)
	expected Limits
	opening  singleflight.Group
	opened   atomic.Pointer[Sink]
}

// NewLazy returns a Lazy. expected are its limits until it is open. Their FIFO has to be right.
func NewLazy(expected Limits, open func(context.Context) (Sink, error)) *Lazy {
	return &Lazy{open: open, expected: expected}
}

// Open opens the sink, unless it is open. The caller publishes only after that, because an opening
// takes long: it asks in between whether it may still publish.
func (l *Lazy) Open(ctx context.Context) error {
	_, err := l.get(ctx)
	return err
}

// Publish implements [Sink].
func (l *Lazy) Publish(ctx context.Context, batch []*Message) ([]Result, error) {
	s, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return s.Publish(ctx, batch)
}

// get returns the sink. Requests that need it while it is being opened wait for the same attempt.
func (l *Lazy) get(ctx context.Context) (Sink, error) {
	if s := l.opened.Load(); s != nil {
		return *s, nil
	}
	s, err, _ := l.opening.Do("", func() (any, error) {
		if s := l.opened.Load(); s != nil {
			return *s, nil
		}
		s, err := l.open(ctx)
		if err != nil {
			return nil, err
		}
		l.opened.Store(&s)
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	return s.(Sink), nil
}

// Limits implements [Sink].
func (l *Lazy) Limits() Limits {
	if s := l.opened.Load(); s != nil {
		return (*s).Limits()
	}
	return l.expected
}

// ReadLimits implements [Sink]. It opens nothing.
func (l *Lazy) ReadLimits(ctx context.Context) error {
	if s := l.opened.Load(); s != nil {
		return (*s).ReadLimits(ctx)
	}
	return nil
}
