package checker

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
)

// formatVersion is the version of the file format. A reader refuses any other.
const formatVersion = 1

// header is the first record of a file.
type header struct {
	Version  int      `json:"version"`
	Promises []Rule   `json:"promises,omitempty"` // the rules to check; all if empty
	Absent   []string `json:"absent,omitempty"`   // fields that no message has
}

// record is one line of a file. Exactly one field is set.
type record struct {
	History     *header      `json:"history,omitempty"`
	Destination *Destination `json:"destination,omitempty"`
	Event       *Event       `json:"event,omitempty"`
	Row         *Row         `json:"row,omitempty"`
	Receipt     *Receipt     `json:"receipt,omitempty"`
	DeadLetter  *DeadLetter  `json:"dead_letter,omitempty"`
	Operator    *Operator    `json:"operator,omitempty"`
	Replay      *Replay      `json:"replay,omitempty"`
	Fault       *Fault       `json:"fault,omitempty"`
	Problem     *string      `json:"problem,omitempty"`
}

// Write writes h as JSON lines, one record a line.
func (h *History) Write(w io.Writer) error {
	buffered := bufio.NewWriter(w)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	for _, line := range h.lines() {
		if err := encoder.Encode(line); err != nil {
			return fmt.Errorf("write the history: %w", err)
		}
	}
	return buffered.Flush()
}

func (h *History) lines() []record {
	first := &header{Version: formatVersion, Promises: h.Promises, Absent: h.Absent}
	all := []record{{History: first}, {Operator: &h.Operator}}
	all = appendRecords(all, h.Destinations, func(d *Destination) record { return record{Destination: d} })
	all = appendRecords(all, h.Events, func(e *Event) record { return record{Event: e} })
	all = appendRecords(all, h.Rows, func(r *Row) record { return record{Row: r} })
	all = appendRecords(all, h.Receipts, func(r *Receipt) record { return record{Receipt: r} })
	all = appendRecords(all, h.DeadLetters, func(d *DeadLetter) record { return record{DeadLetter: d} })
	all = appendRecords(all, h.Replays, func(r *Replay) record { return record{Replay: r} })
	all = appendRecords(all, h.Faults, func(f *Fault) record { return record{Fault: f} })
	return appendRecords(all, h.Problems, func(p *string) record { return record{Problem: p} })
}

func appendRecords[T any](all []record, elements []T, recordOf func(*T) record) []record {
	for i := range elements {
		all = append(all, recordOf(&elements[i]))
	}
	return all
}

// Read reads a history as Write writes it. The records of one kind keep their order, and the kinds
// may be mixed. The error names the line.
func Read(r io.Reader) (*History, error) {
	h := &History{}
	reader := bufio.NewReader(r)
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read the history: %w", err)
		}
		if len(bytes.TrimSpace(line)) > 0 {
			if err := h.add(line, number); err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
		}
		if err != nil {
			break
		}
	}
	return h, h.validate()
}

// add adds the record of a line. A misspelt field is an error, because its value would be lost.
func (h *History) add(line []byte, number int) error {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	var r record
	if err := decoder.Decode(&r); err != nil {
		return err
	}
	if decoder.More() || r.kinds() != 1 {
		return errors.New("has to be one JSON object with one record, as in " + `{"row":{"id":"1","seq":1}}`)
	}
	if (r.History != nil) != (number == 1) {
		return fmt.Errorf(`a file begins with {"history":{"version":%d}}, which no other line has`, formatVersion)
	}
	if r.History != nil {
		h.Promises, h.Absent = r.History.Promises, r.History.Absent
		return r.History.validate()
	}
	h.Destinations = appendNotNil(h.Destinations, r.Destination)
	h.Events = appendNotNil(h.Events, r.Event)
	h.Rows = appendNotNil(h.Rows, r.Row)
	h.Receipts = appendNotNil(h.Receipts, r.Receipt)
	h.DeadLetters = appendNotNil(h.DeadLetters, r.DeadLetter)
	h.Replays = appendNotNil(h.Replays, r.Replay)
	h.Faults = appendNotNil(h.Faults, r.Fault)
	h.Problems = appendNotNil(h.Problems, r.Problem)
	if r.Operator != nil {
		h.Operator = *r.Operator
	}
	return nil
}

func appendNotNil[T any](all []T, element *T) []T {
	if element == nil {
		return all
	}
	return append(all, *element)
}

// kinds returns how many records a line has.
func (r record) kinds() int {
	set, value := 0, reflect.ValueOf(r)
	for i := range value.NumField() {
		if !value.Field(i).IsNil() {
			set++
		}
	}
	return set
}

func (h *header) validate() error {
	if h.Version != formatVersion {
		return fmt.Errorf("the history has version %d, and this checker reads version %d", h.Version, formatVersion)
	}
	for _, promise := range h.Promises {
		if !slices.Contains(Rules, promise) {
			return fmt.Errorf("%q is no promise: the promises are %s", promise, listed(Rules))
		}
	}
	for _, field := range h.Absent {
		if !slices.Contains(optional, field) {
			return fmt.Errorf("%q cannot be absent: the fields that can be are %s", field, strings.Join(optional, ", "))
		}
	}
	return nil
}

func listed(rules []Rule) string {
	names := make([]string, len(rules))
	for i, rule := range rules {
		names[i] = string(rule)
	}
	return strings.Join(names, ", ")
}

// validate reports what the checker relies on in a history that other programs wrote.
func (h *History) validate() error {
	names, inTable := map[string]bool{}, map[string]bool{}
	for _, d := range h.Destinations {
		names[d.Name] = true
	}
	for _, row := range h.Rows {
		inTable[row.ID] = true
	}
	for _, e := range h.Events {
		if inTable[e.ID] && !names[e.Destination] {
			return fmt.Errorf("event %s has the destination %q, and no record describes it", e.ID, e.Destination)
		}
		if !slices.Contains([]Outcome{Committed, RolledBack, Unknown}, e.Outcome) {
			return fmt.Errorf("event %s has the outcome %q: write %s, %s or %s", e.ID, e.Outcome, Committed, RolledBack,
				Unknown)
		}
	}
	for _, d := range h.DeadLetters {
		if len(d.Changes) == 0 {
			return fmt.Errorf("the dead letter of event %s has no changes: the first is its parking", d.EventID)
		}
	}
	return nil
}
