package fakeaws

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/jsontext"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/queue"
)

// maxEventBytes is the size that all entries of a PutEvents have to stay below.
// https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
const maxEventBytes = 1 << 20

// event is one entry of a PutEvents. The entry's message has its detail as the body and its
// detail-type as the subject.
type event struct {
	bus, source string
	resources   []string
	time        time.Time // zero: the time of the request
}

// callPutEvents decodes a PutEvents. Faults select it by the bus of its first entry.
func (s *Server) callPutEvents(body string) (*call, error) {
	b, events, err := decodePutEvents(body)
	if err != nil {
		return nil, eventsError("SerializationException", "the request is not what the action takes: %v", err)
	}
	destination := ""
	if len(events) > 0 {
		destination = busNameOf(events[0].bus)
	}
	return &call{action: "PutEvents", destination: destination, batch: b, perform: func(p *plan) ([]byte, error) {
		results, err := s.putEvents(b, events, p)
		if err != nil {
			return nil, err
		}
		return encodePutEvents(p.edit(results))
	}}, nil
}

func decodePutEvents(body string) (*batch, []event, error) {
	b, events := &batch{entries: make([]entry, 0, 10)}, make([]event, 0, 10)
	s := jsontext.NewScanner(body)
	err := s.Object(func(name string) error {
		if name != "Entries" {
			return s.Skip()
		}
		return s.Array(func() error {
			b.entries, events = append(b.entries, entry{}), append(events, event{})
			m, e := &b.entries[len(b.entries)-1].message, &events[len(events)-1]
			return s.Object(func(name string) error { return decodeEventMember(s, m, e, name) })
		})
	})
	return b, events, err
}

func decodeEventMember(s *jsontext.Scanner, m *Message, e *event, name string) (err error) {
	switch name {
	case "EventBusName":
		e.bus, err = s.String()
	case "Source":
		e.source, err = s.String()
	case "DetailType":
		m.Subject, err = s.String()
	case "Detail":
		m.Body, err = s.String()
	case "TraceHeader":
		m.TraceHeader, err = s.String()
	case "Resources":
		err = s.Array(func() error {
			resource, err := s.String()
			e.resources = append(e.resources, resource)
			return err
		})
	case "Time":
		var at int
		at, err = s.Int()
		e.time = time.Unix(int64(at), 0)
	default:
		err = s.Skip()
	}
	return err
}

// putEvents performs PutEvents. As on AWS, an invalid event fails its entry, the whole request has
// one limit, and an event for a bus that does not exist is accepted and gone.
func (s *Server) putEvents(b *batch, events []event, p *plan) ([]result, error) {
	total := 0
	for i := range b.entries {
		total += events[i].size(&b.entries[i].message)
	}
	switch n := len(b.entries); {
	case n == 0 || n > 10:
		return nil, eventsError("ValidationException", "1 validation error detected: Value at 'entries' failed to "+
			"satisfy constraint: Member must have length less than or equal to 10")
	case total >= maxEventBytes:
		return nil, eventsError("ValidationException", "Total size of the entries in the request is over the limit.")
	}
	results := make([]result, len(b.entries))
	for i := range b.entries {
		m, e := &b.entries[i].message, &events[i]
		if results[i].failure = p.entryFailure(i); results[i].failure == nil {
			results[i].failure = e.check(m)
		}
		if results[i].failure == nil {
			m.ID, m.SentAt = s.identify.uuid(), s.options.Now()
			results[i].messageID = m.ID
			if to := s.busByARN(e.bus); to != nil {
				s.match(to, m, e)
			}
		}
	}
	return results, nil
}

// size returns the bytes of an entry as AWS counts them.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html#eb-putevent-size
func (e *event) size(m *Message) int {
	size := len(e.source) + len(m.Subject) + len(m.Body)
	if !e.time.IsZero() {
		size += 14
	}
	for _, resource := range e.resources {
		size += len(resource)
	}
	return size
}

func (e *event) check(m *Message) *apiError {
	const required = "Parameter %s is not valid. Reason: %[1]s is a required argument."
	switch {
	case e.source == "":
		return eventsError("InvalidArgument", required, "Source")
	case m.Subject == "":
		return eventsError("InvalidArgument", required, "DetailType")
	case utf8.RuneCountInString(m.Subject) > 128:
		return eventsError("InvalidArgument", "Parameter DetailType is not valid. Reason: DetailType must be at most "+
			"128 characters.")
	case m.Body == "":
		return eventsError("InvalidArgument", required, "Detail")
	case m.Body[0] != '{' || !json.Valid([]byte(m.Body)):
		return eventsError("MalformedDetail", "Detail is malformed.")
	}
	return nil
}

// match records an event and sends it to the targets of the rules that it matches.
func (s *Server) match(b *bus, m *Message, e *event) {
	b.journal.add(m, false)
	b.mu.RLock()
	defer b.mu.RUnlock()
	if len(b.rules) == 0 {
		return
	}
	body := s.eventBody(m, e)
	for _, r := range b.rules {
		if !r.pattern.Match([]byte(body)) {
			continue
		}
		for _, t := range r.targets {
			s.sendEvent(t, &Message{ID: s.identify.uuid(), Body: body, TraceHeader: m.TraceHeader})
		}
	}
}

// sendEvent sends an event to a queue. As on AWS, the publisher does not learn if the queue refuses
// it.
func (s *Server) sendEvent(t target, m *queue.Message) {
	if q := s.queueByARN(t.ARN); q.takes(m) && !q.fifo {
		q.messages.Send(m)
	}
}

// eventBody returns an event as targets receive it.
// https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
func (s *Server) eventBody(m *Message, e *event) string {
	at := e.time
	if at.IsZero() {
		at = m.SentAt
	}
	document := struct {
		Version    string          `json:"version"`
		ID         string          `json:"id"`
		DetailType string          `json:"detail-type"`
		Source     string          `json:"source"`
		Account    string          `json:"account"`
		Time       string          `json:"time"`
		Region     string          `json:"region"`
		Resources  []string        `json:"resources"`
		Detail     json.RawMessage `json:"detail"`
	}{
		"0", m.ID, m.Subject, e.source, s.options.Account, at.UTC().Format(time.RFC3339), s.options.Region,
		append([]string{}, e.resources...), json.RawMessage(m.Body),
	}
	var body strings.Builder
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(document) // cannot fail for valid JSON
	return strings.TrimSuffix(body.String(), "\n")
}

func encodePutEvents(results []result) ([]byte, error) {
	failed := 0
	b := append(make([]byte, 0, 64+64*len(results)), `{"Entries":[`...)
	for i := range results {
		f := results[i].failure
		if f == nil {
			b = append(separate(b), `{"EventId":"`...)
			b = append(append(b, results[i].messageID...), `"}`...)
			continue
		}
		failed++
		element, err := json.Marshal(map[string]string{"ErrorCode": f.code, "ErrorMessage": f.message})
		if err != nil {
			return nil, err
		}
		b = append(separate(b), element...)
	}
	b = strconv.AppendInt(append(b, `],"FailedEntryCount":`...), int64(failed), 10)
	return append(b, '}'), nil
}
