// Package budget ends the work of a Lambda function early enough to answer: Lambda ends a function
// at its timeout, whatever the function does.
package budget

import (
	"context"
	"time"
)

// Within returns a context that ends a margin before the deadline of ctx, which Lambda sets to the
// timeout of the function. Without a deadline, it ends with ctx alone.
func Within(ctx context.Context, margin time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-margin))
}
