package inbox

import (
	"context"
	"database/sql"
	"fmt"
)

// Execer executes a statement: a [*sql.Tx], or the transaction of a library on top of database/sql,
// such as *sqlx.Tx, bun.Tx, or the Statement.ConnPool of a *gorm.DB in Transaction.
type Execer interface {
	ExecContext(ctx context.Context, query string, arguments ...any) (sql.Result, error)
}

// transaction is implemented by every transaction of database/sql, and by no pool and no
// connection.
type transaction interface {
	Commit() error
	Rollback() error
}

// OnceSQL is [Once] for database/sql and for libraries on top of it. tx is the transaction in which
// the consumer acts.
//
// OnceSQL refuses everything that has no Commit and Rollback, such as a [*sql.DB]. A pool commits
// each statement by itself: the event would count as processed even if the consumer fails to act.
func OnceSQL(ctx context.Context, tx Execer, consumer string, event Event, options ...Option) (isNew bool, err error) {
	r, err := newRecord(consumer, event, options)
	if err != nil {
		return false, err
	}
	if _, isTransaction := tx.(transaction); !isTransaction {
		return false, r.explain(fmt.Errorf("%T is no transaction: begin one, and pass it instead", tx))
	}
	result, err := tx.ExecContext(ctx, r.statement, r.arguments...)
	if err != nil {
		return false, r.explain(err)
	}
	affected, err := result.RowsAffected()
	if err != nil {
		return false, r.explain(err)
	}
	return affected == 1, nil
}
