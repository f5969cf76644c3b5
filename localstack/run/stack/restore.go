package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
)

// missingError says that the broker answers and lacks these resources. That is so after the restart
// of a broker in memory, and after a deletion.
type missingError struct{ names []string }

func (e *missingError) Error() string {
	verb := map[bool]string{true: "does", false: "do"}[len(e.names) == 1]
	return strings.Join(e.names, " and ") + " " + verb + " not exist"
}

func lacksMessaging(parts []part) bool {
	for _, p := range parts {
		if _, is := errors.AsType[*missingError](p.err); is {
			return true
		}
	}
	return false
}

// reasons returns the errors of the parts that do not work.
func reasons(parts []part) string {
	var texts []string
	for _, p := range parts {
		if p.err != nil {
			texts = append(texts, p.err.Error())
		}
	}
	return strings.Join(texts, "; ")
}

// restoreTimeout is the time for the relay to notice that its topic exists again. It retries every
// few seconds, and a container of it is restarted up to a minute after it ended.
const restoreTimeout = 90 * time.Second

// restore creates the missing resources of the broker, and returns the parts after the relay has
// found them.
func (s *Stack) restore(ctx context.Context, state State, parts []part) ([]part, error) {
	s.begin("creating what the broker lacks, usually in 5 seconds: %s", reasons(parts))
	templates, err := s.templates()
	if err != nil {
		return nil, err
	}
	create := messaging.Deploy
	if state.Way == Embedded {
		create = messaging.Create
	}
	outputs, err := create(ctx, s.Ports.Endpoint(), templates)
	if err != nil {
		return nil, err
	}
	if outputs != state.Outputs {
		return nil, fmt.Errorf("the broker has %+v after the repair, not %+v: run make localstack-down and then make "+
			"localstack-up", outputs, state.Outputs)
	}
	return s.settle(ctx, state)
}

// settle returns the parts when all of them work, or after restoreTimeout.
func (s *Stack) settle(ctx context.Context, state State) ([]part, error) {
	deadline := time.Now().Add(restoreTimeout)
	for {
		parts := s.parts(ctx, state)
		if broken(parts) == "" || time.Now().After(deadline) {
			return parts, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// templates returns the templates of the topic and the queues.
func (s *Stack) templates() (t messaging.Templates, err error) {
	for name, text := range map[string]*[]byte{"messaging.yaml": &t.Messaging, "consumer.yaml": &t.Consumer} {
		if *text, err = os.ReadFile(filepath.Join(s.Root, "infra", name)); err != nil {
			return messaging.Templates{}, fmt.Errorf("read the template of topic and queues: %w", err)
		}
	}
	return t, nil
}
