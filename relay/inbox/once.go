package inbox

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Once records event for consumer as part of tx, and reports whether it is new. Act upon the event
// in tx if it is new, commit, and delete the message. Of all transactions that record one event, at
// most one commits with new. If tx is rolled back, the event is new again.
//
// Concurrent calls for one event wait: the second call returns when the first transaction ends, and
// is told new only if that transaction was rolled back or its connection was lost. In a transaction
// above READ COMMITTED it fails instead, with SQLSTATE 40001, if the other one committed. Retry the
// transaction then.
//
// consumer names who acts. Two consumers of one database have different names, or each would skip
// the events of the other. If a consumer reads several outbox tables whose ids or sequences may
// coincide, it uses a name for each, such as "shipping/orders".
//
// Call Once before the statements that act, and once in a transaction. After an error, roll tx
// back: Postgres accepts no further statement in it. The errors are
//
//   - an empty consumer, or an event without an id;
//   - with [SkipStale], an event of an aggregate without a sequence;
//   - missing tables: the error names the migration;
//   - every error of Postgres, which errors.As finds.
func Once(ctx context.Context, tx pgx.Tx, consumer string, event Event, options ...Option) (isNew bool, err error) {
	r, err := newRecord(consumer, event, options)
	if err != nil {
		return false, err
	}
	tag, err := tx.Exec(ctx, r.statement, r.arguments...)
	if err != nil {
		return false, r.explain(err)
	}
	return tag.RowsAffected() == 1, nil
}

// Option adds a condition under which an event is new.
type Option func(*rule)

type rule struct{ skipStale bool }

// SkipStale reports an event as not new too if its sequence is not above that of the newest event
// of its aggregate for which this consumer was told new with SkipStale. The row of the aggregate
// stays locked until the transaction ends.
//
// The guarantee: the events of one aggregate that a consumer acts upon, in the order of its
// commits, have increasing sequences, and none is acted upon twice, even if its id is removed by
// [Prune]. The price: an event that arrives after a later one is dropped for ever. So SkipStale
// fits events that carry the whole state of their aggregate, and no events that are changes to add
// up. It does not wait for earlier events, because gaps between sequences are normal.
//
// Sequences follow the commits of the producers only if they lock the aggregate before
// outbox.Insert. An event without an aggregate id has no order and is recorded by its id alone.
func SkipStale() Option { return func(r *rule) { r.skipStale = true } }
