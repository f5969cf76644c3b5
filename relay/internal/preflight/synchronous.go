package preflight

import (
	"context"

	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// asynchronous checks that no commit waits for the relay. It is the last requirement because it is
// transient: the setting may change, and the check of the tables must be complete in any case.
func (d *database) asynchronous(ctx context.Context) Findings {
	const object = "server"
	setting, err := slot.SynchronousStandbyNames(ctx, d.Pool)
	if err != nil {
		return Findings{unknown(CodeSynchronous, object, err)}
	}
	if err := replication.CheckSynchronous(setting, d.Slot); err != nil {
		return Findings{FromError(CodeSynchronous, object, err)}
	}
	return Findings{passed(CodeSynchronous, object, "synchronous_standby_names does not name the relay")}
}
