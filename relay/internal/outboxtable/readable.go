package outboxtable

import (
	"context"
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
)

// RequireReadable returns a [*operator.NeededError] if the relay would not read the true contents
// of the tables.
func RequireReadable(ctx context.Context, db Querier, table Table) error {
	hidden, err := FindRowSecurity(ctx, db, table)
	if err != nil {
		return err
	}
	binary, err := FindBinaryColumns(ctx, db, table)
	if err != nil {
		return err
	}
	var reasons []string
	for _, h := range hidden {
		reasons = append(reasons, fmt.Sprintf("%s: %s", h.Explanation(), h.Statement()))
	}
	for _, b := range binary {
		reasons = append(reasons, fmt.Sprintf("%s: %s", b.Explanation(), b.Statement()))
	}
	if reasons == nil {
		return nil
	}
	return &operator.NeededError{Reason: strings.Join(reasons, "\n")}
}
