package postgres

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// settingCodes are the SQLSTATEs by which the database refuses a statement of the relay because a
// column is not as the settings have it. Only other settings, another definition of the table or a
// command cures that.
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

// databaseCures say for SQLSTATEs that the relay retries what an operator does in the database. The
// relay continues by itself once that is done.
var databaseCures = map[string]string{
	pgerrcode.ReadOnlySQLTransaction:       "make the server writable: the relay keeps its position in it",
	pgerrcode.InvalidSchemaName:            "relay check names what is missing",
	pgerrcode.InsufficientPrivilege:        "relay check names each privilege that is missing, with its GRANT",
	pgerrcode.UndefinedObject:              "relay check names what is missing, with the statement that creates it",
	pgerrcode.UndefinedTable:               "relay check names the table that is missing; relay migrate creates those of the relay",
	pgerrcode.ObjectNotInPrerequisiteState: "relay check names the setting or the publication that keeps the server from decoding the log",
	pgerrcode.ConfigurationLimitExceeded:   "raise the limit of the server that the message names (max_replication_slots or max_wal_senders)",
}

// WithCure adds to an error of the database what an operator does about it, in the database or by
// other settings. It returns any other error as it is.
func WithCure(err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return err
	}
	cure := databaseCures[refused.Code]
	if slices.Contains(settingCodes, refused.Code) {
		cure = "relay check names each column that is not as the settings have it"
	}
	if cure == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, cure)
}

// IsSettingError reports whether err is the answer of a database in which a column is not as the
// settings have it.
func IsSettingError(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && slices.Contains(settingCodes, refused.Code)
}
