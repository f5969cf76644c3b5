package fakeaws

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/pattern"
)

// defaultBus exists in each account and Region.
const defaultBus = "default"

// everyEvent is the pattern of every event of an account.
const everyEvent = `{"source":[{"prefix":""}]}`

// https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateEventBus.html
var busNames = regexp.MustCompile(`^[A-Za-z0-9._-]{1,256}$`)

// bus is an event bus with its rules.
type bus struct {
	name, arn string
	journal   journal

	mu    sync.RWMutex
	rules map[string]*rule
}

// rule sends the events that match its pattern to its targets.
type rule struct {
	pattern pattern.Pattern
	targets []target
}

// target is a queue, by its ARN.
type target struct {
	ID  string `json:"Id"`
	ARN string `json:"Arn"`
}

// eventsRequest holds the members of every action of EventBridge except PutEvents.
type eventsRequest struct {
	Name, EventBusName, Rule, EventPattern string
	Targets                                []target
	IDs                                    []string `json:"Ids"`
}

// failures is the answer of an action on several targets, none of which failed.
var failures = map[string]any{"FailedEntryCount": 0, "FailedEntries": []any{}}

// callEvents decodes the request of an action of EventBridge.
func (s *Server) callEvents(action, body string) (*call, error) {
	if action == "PutEvents" {
		return s.callPutEvents(body)
	}
	var r eventsRequest
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		return nil, eventsError("SerializationException", "the request is not what the action takes: %v", err)
	}
	destination := r.EventBusName
	if destination == "" {
		destination = r.Name
	}
	return &call{action: action, destination: busNameOf(destination), perform: func(*plan) ([]byte, error) {
		output, err := s.performEvents(action, &r)
		if err != nil {
			return nil, err
		}
		return json.Marshal(output)
	}}, nil
}

func (s *Server) performEvents(action string, r *eventsRequest) (any, error) {
	switch action {
	case "CreateEventBus":
		b, err := s.createBus(r)
		if err != nil {
			return nil, err
		}
		return map[string]string{"EventBusArn": b.arn}, nil
	case "DescribeEventBus":
		b, err := s.findBus(r.Name)
		if err != nil {
			return nil, err
		}
		return map[string]string{"Name": b.name, "Arn": b.arn}, nil
	case "DeleteEventBus":
		return nothing, s.deleteBus(r.Name)
	case "PutRule":
		return s.putRule(r)
	case "PutTargets":
		return s.putTargets(r)
	case "RemoveTargets":
		return s.removeTargets(r)
	case "DeleteRule":
		return nothing, s.deleteRule(r)
	}
	return nil, eventsError("UnknownOperationException", "fakeaws does not know the EventBridge action %s", action)
}

func (s *Server) newBus(name string) *bus {
	arn := "arn:aws:events:" + s.options.Region + ":" + s.options.Account + ":event-bus/" + name
	return &bus{
		name: name, arn: arn, rules: map[string]*rule{},
		journal: journal{retain: s.options.Retain, tell: s.tell(arn)},
	}
}

// busNameOf returns the name of a bus from its name or ARN. An empty one is that of the default
// bus.
func busNameOf(nameOrARN string) string {
	if nameOrARN == "" {
		return defaultBus
	}
	return nameOf(nameOrARN)
}

// busByARN returns the bus with this name or ARN, or nil.
func (s *Server) busByARN(nameOrARN string) *bus {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b := s.buses[busNameOf(nameOrARN)]
	if b == nil || strings.HasPrefix(nameOrARN, "arn:") && b.arn != nameOrARN {
		return nil
	}
	return b
}

func (s *Server) findBus(nameOrARN string) (*bus, error) {
	if b := s.busByARN(nameOrARN); b != nil {
		return b, nil
	}
	return nil, eventsError("ResourceNotFoundException", "Event bus %s does not exist.", busNameOf(nameOrARN))
}

func (s *Server) createBus(r *eventsRequest) (*bus, error) {
	if !busNames.MatchString(r.Name) {
		return nil, eventsError("ValidationException", "Value '%s' at 'name' failed to satisfy constraint", r.Name)
	}
	b := s.newBus(r.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buses[r.Name] != nil {
		return nil, eventsError("ResourceAlreadyExistsException", "Event bus %s already exists.", r.Name)
	}
	s.buses[r.Name] = b
	return b, nil
}

func (s *Server) deleteBus(name string) error {
	b := s.busByARN(name)
	if b == nil {
		return nil
	}
	b.mu.RLock()
	used := len(b.rules) > 0
	b.mu.RUnlock()
	if used || b.name == defaultBus {
		return eventsError("ValidationException", "Cannot delete event bus %s because it has rules.", b.name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.buses, b.name)
	return nil
}

func (s *Server) putRule(r *eventsRequest) (any, error) {
	b, err := s.findBus(r.EventBusName)
	if err != nil {
		return nil, err
	}
	parsed, err := pattern.Parse(r.EventPattern)
	if err != nil {
		return nil, eventsError("InvalidEventPatternException", "Event pattern is not valid. Reason: %v", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rules[r.Name] == nil {
		b.rules[r.Name] = &rule{}
	}
	b.rules[r.Name].pattern = parsed
	arn := strings.Replace(b.arn, ":event-bus/", ":rule/", 1) + "/" + r.Name
	return map[string]string{"RuleArn": arn}, nil
}

func (s *Server) putTargets(r *eventsRequest) (any, error) {
	b, err := s.findBus(r.EventBusName)
	if err != nil {
		return nil, err
	}
	for _, t := range r.Targets {
		if s.queueByARN(t.ARN) == nil {
			return nil, eventsError("ValidationException", "fakeaws sends to queues that exist, and %s is none", t.ARN)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.rules[r.Rule]
	if known == nil {
		return nil, eventsError("ResourceNotFoundException", "Rule %s does not exist on EventBus %s.", r.Rule, b.name)
	}
	for _, t := range r.Targets {
		known.targets = append(without(known.targets, t.ID), t)
	}
	return failures, nil
}

func without(targets []target, ids ...string) []target {
	return slices.DeleteFunc(slices.Clone(targets), func(t target) bool { return slices.Contains(ids, t.ID) })
}

func (s *Server) removeTargets(r *eventsRequest) (any, error) {
	b, err := s.findBus(r.EventBusName)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.rules[r.Rule]; known != nil {
		known.targets = without(known.targets, r.IDs...)
	}
	return failures, nil
}

func (s *Server) deleteRule(r *eventsRequest) error {
	b, err := s.findBus(r.EventBusName)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.rules[r.Name]; known != nil && len(known.targets) > 0 {
		return eventsError("ValidationException", "Rule can't be deleted since it has targets.")
	}
	delete(b.rules, r.Name)
	return nil
}
