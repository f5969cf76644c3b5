// Package operator has the error that only an operator can act on.
package operator

import (
	"errors"
	"fmt"
)

// NeededError says that the relay must not continue until an operator has decided something. Its
// text says what.
type NeededError struct{ Reason string }

func (e *NeededError) Error() string { return e.Reason }

// Needed returns a [*NeededError] with this text.
func Needed(format string, args ...any) error {
	return &NeededError{Reason: fmt.Sprintf(format, args...)}
}

// IsNeeded reports whether a [*NeededError] is in err.
func IsNeeded(err error) bool {
	var needed *NeededError
	return errors.As(err, &needed)
}
