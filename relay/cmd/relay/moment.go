package main

import (
	"fmt"
	"time"
)

// moment is a time in a flag of a command.
type moment struct{ time.Time }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *moment) UnmarshalText(text []byte) (err error) {
	if m.Time, err = time.Parse(time.RFC3339, string(text)); err != nil {
		return fmt.Errorf("%q is not written like 2026-01-31T00:00:00Z or 2026-01-31T01:00:00+01:00", text)
	}
	return nil
}
