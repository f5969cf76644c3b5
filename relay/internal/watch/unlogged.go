package watch

import (
	"context"
	"errors"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// reportUnlogged warns while the log lacks rows because a partition, or one of several tables, is
// unlogged. The session continues with the other rows. Where the only table is unlogged, the
// Checkpointer ends the session.
func (w *Watcher) reportUnlogged(ctx context.Context) error {
	found, err := outboxtable.FindUnlogged(ctx, w.Pool, w.Publication, w.Table)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		w.unlogged = ""
		w.Unlogged(nil)
		return nil
	}
	var reasons []string
	var relations []uint32
	for _, u := range found {
		if !u.IsPartition {
			relations = append(relations, u.Relation)
		}
		reasons = append(reasons, u.String())
	}
	warning := strings.Join(reasons, "; ")
	w.Unlogged(errors.New(warning))
	if warning != w.unlogged {
		w.Log.Error("the log lacks the rows of an unlogged table",
			"event", "table_unlogged", "slot", w.Slot, "err", warning)
	}
	w.unlogged = warning
	if relations == nil {
		return nil
	}
	return w.NoteUnlogged(ctx, relations)
}
