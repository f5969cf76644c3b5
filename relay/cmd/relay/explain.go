package main

import (
	"errors"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// explain adds a remedy to an error of the database.
func explain(err error) error {
	if _, cannotConnect := errors.AsType[*pgconn.ConnectError](err); cannotConnect {
		return fmt.Errorf("database: cannot connect, check DATABASE_URL: %w", postgres.Explain(err))
	}
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || postgres.IsRowSecurity(err) {
		return postgres.Explain(err)
	}
	switch refused.Code {
	case pgerrcode.UndefinedTable:
		return fmt.Errorf("%w: run relay migrate", err)
	case pgerrcode.UndefinedColumn:
		return fmt.Errorf("%w: name the columns of your table in RELAY_COLUMN_…; if it is a column of the relay's own "+
			"tables, run relay migrate", err)
	case pgerrcode.InsufficientPrivilege:
		return fmt.Errorf("%w: grant it to the role in DATABASE_URL, or use another role (relay migrate needs "+
			"CREATE on the database and on its schema)", err)
	}
	return postgres.Explain(err)
}
