// Package operator has the error type for problems that need an operator's decision.
package operator

import (
	"errors"
	"fmt"
)

// NeededError means that the relay must not continue without a decision of the operator. Its text
// describes the decision.
type NeededError struct{ Reason string }

func (e *NeededError) Error() string { return e.Reason }

// Needed returns a [*NeededError] with this text.
func Needed(format string, args ...any) error {
	return &NeededError{Reason: fmt.Sprintf(format, args...)}
}

// IsNeeded reports whether err wraps a [*NeededError].
func IsNeeded(err error) bool {
	var needed *NeededError
	return errors.As(err, &needed)
}
