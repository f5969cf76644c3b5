package budget_test

import (
	"context"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/functions/internal/budget"
)

func TestTheBudgetEndsBeforeTheFunction(t *testing.T) {
	t.Parallel()
	timeout := time.Now().Add(time.Minute)
	function, cancel := context.WithDeadline(t.Context(), timeout)
	defer cancel()
	working, done := budget.Within(function, 10*time.Second)
	defer done()
	if ends, _ := working.Deadline(); !ends.Equal(timeout.Add(-10 * time.Second)) {
		t.Errorf("the work ends at %v, and the function at %v", ends, timeout)
	}
}

func TestWithoutATimeoutTheBudgetHasNoEnd(t *testing.T) {
	t.Parallel()
	working, done := budget.Within(t.Context(), time.Second)
	defer done()
	if ends, has := working.Deadline(); has {
		t.Errorf("the work ends at %v", ends)
	}
}
