package main

import (
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/span"
)

// moment is a time in a flag of a command: an age, or a date with its time.
type moment struct{ time.Time }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *moment) UnmarshalText(text []byte) (err error) {
	if age, err := span.Parse(string(text)); err == nil {
		m.Time = time.Now().Add(-age)
		return nil
	}
	if m.Time, err = time.Parse(time.RFC3339, string(text)); err != nil {
		return fmt.Errorf("%q is no time: write an age as in 90m, 1h or 2d, or a time as in 2026-01-31T00:00:00Z or "+
			"2026-01-31T01:00:00+01:00", text)
	}
	return nil
}
