package postgres

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// settingCodes are the SQLSTATEs of statements that the database refuses because a column differs
// from the settings. Only other settings, another definition of the table or a command fixes that.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
var settingCodes = []string{
	pgerrcode.FeatureNotSupported,
	pgerrcode.NumericValueOutOfRange,
	pgerrcode.InvalidDatetimeFormat,
	pgerrcode.DatetimeFieldOverflow,
	pgerrcode.InvalidTextRepresentation,
	pgerrcode.UntranslatableCharacter,
	pgerrcode.SyntaxError,
	pgerrcode.UndefinedColumn,
	pgerrcode.DatatypeMismatch,
	pgerrcode.CannotCoerce,
	pgerrcode.UndefinedFunction,
}

// databaseRemedies are an operator's steps in the database, for SQLSTATEs that the relay retries.
// The relay continues by itself afterwards.
var databaseRemedies = map[string]string{
	pgerrcode.ReadOnlySQLTransaction: "make the server writable: the relay stores its position in it",
	pgerrcode.InvalidSchemaName:      "relay check names what is missing",
	pgerrcode.InsufficientPrivilege:  "relay check names each privilege that is missing, with its GRANT",
	pgerrcode.UndefinedObject:        "relay check names what is missing, with the statement that creates it",
	pgerrcode.UndefinedTable: "relay check names the table that is missing; relay migrate creates the relay's own " +
		"tables",
	pgerrcode.ObjectNotInPrerequisiteState: "relay check names the setting or the publication that prevents the " +
		"server from decoding the log",
	pgerrcode.ConfigurationLimitExceeded: "raise the server's limit in the message (max_replication_slots or " +
		"max_wal_senders)",
}

// WithRemedy adds the operator's next step to an error of the database. It returns any other error
// unchanged.
func WithRemedy(err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return err
	}
	remedy := databaseRemedies[refused.Code]
	if slices.Contains(settingCodes, refused.Code) {
		remedy = "relay check names each column that differs from the settings"
	}
	if refused.Code == pgerrcode.TooManyConnections {
		remedy = remedyOfLimit(err, refused)
	}
	if remedy == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, remedy)
}

// IsSettingError reports whether the database refused a statement because a column differs from the
// settings.
func IsSettingError(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && slices.Contains(settingCodes, refused.Code)
}
