package stack

import (
	"context"
	"errors"
	"fmt"
)

// way is one of the three ways to run the stack.
type way interface {
	name() Way
	// check is a quick check that this way works on this machine. The error explains why not.
	check(ctx context.Context) error
	// prepare fetches, installs and builds, which is slow the first time.
	prepare(ctx context.Context) error
	// up starts everything and saves the state. It does not touch parts that run.
	up(ctx context.Context) error
	// down stops the parts that up started and returns after their end.
	down(ctx context.Context, state State) error
	// logs prints the last lines of a part's log, and then follows it if requested.
	logs(ctx context.Context, request LogRequest) error
}

// ways returns all ways in order of preference, or only the requested one.
func (s *Stack) ways() ([]way, error) {
	if s.Insist == "" {
		return []way{&compose{Stack: s}, &supervised{Stack: s, way: Host}, &supervised{Stack: s, way: Embedded}}, nil
	}
	w, err := s.wayNamed(s.Insist)
	return []way{w}, err
}

func (s *Stack) wayNamed(name Way) (way, error) {
	switch name {
	case Compose:
		return &compose{Stack: s}, nil
	case Host, Embedded:
		return &supervised{Stack: s, way: name}, nil
	}
	return nil, fmt.Errorf("STACK=%s is none of compose, host and embedded", name)
}

// choose returns the first way that works, prepared, and prints the reason. With Insist it tries
// only that way.
func (s *Stack) choose(ctx context.Context, ways []way) (way, error) {
	var reasons []error
	for _, w := range ways {
		err := w.check(ctx)
		if err == nil {
			err = w.prepare(ctx)
		}
		if err == nil {
			s.report("taking the %s way: %s", w.name(), descriptions[w.name()])
			return w, nil
		}
		if Interrupted(ctx) {
			return nil, context.Cause(ctx)
		}
		reasons = append(reasons, fmt.Errorf("the %s way does not work here: %w", w.name(), err))
		if len(reasons) < len(ways) {
			s.report("not the %s way: %v", w.name(), err)
		}
	}
	return nil, errors.Join(reasons...)
}

var descriptions = map[Way]string{
	Compose:  "containers of postgres:17, LocalStack " + LocalStackVersion + " and the relay",
	Host:     "processes of Postgres, LocalStack " + LocalStackVersion + " from its Python package, and the relay",
	Embedded: "processes of Postgres and the relay, and a fake of SNS, SQS, EventBridge and S3 in place of LocalStack",
}
