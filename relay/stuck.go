package relay

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// stuckAfter is after how many sessions that end alike, and deliver nothing, the relay takes a
// definite answer of the database for final. A single one may come from a change that is under way.
const stuckAfter = 5

// settingCodes are the SQLSTATEs by which the database refuses a statement of the relay because a
// column is not as the settings have it. Only other settings, another definition of the table or a
// command cures that.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
var settingCodes = []string{
	"0A000", // feature_not_supported
	"22003", // numeric_value_out_of_range
	"22007", // invalid_datetime_format
	"22008", // datetime_field_overflow
	"22P02", // invalid_text_representation
	"22P05", // untranslatable_character
	"42601", // syntax_error
	"42703", // undefined_column
	"42804", // datatype_mismatch
	"42846", // cannot_coerce
	"42883", // undefined_function
}

// databaseCures are what an operator does in the database about answers that a relay retries,
// because it continues by itself once that is done.
var databaseCures = map[string]string{
	"25006": "make the server writable: the relay keeps its position in it",                                    // read_only_sql_transaction
	"3F000": "relay check names what is missing",                                                               // invalid_schema_name
	"42501": "relay check names each privilege that is missing, with its GRANT",                                // insufficient_privilege
	"42704": "relay check names what is missing, with the statement that creates it",                           // undefined_object
	"42P01": "relay check names the table that is missing; relay migrate creates those of the relay",           // undefined_table
	"55000": "relay check names the setting or the publication that keeps the server from decoding the log",    // object_not_in_prerequisite_state
	"53400": "raise the limit of the server that the message names (max_replication_slots or max_wal_senders)", // configuration_limit_exceeded
}

// withCure adds to an error what an operator does about it, in the database or by other settings.
func withCure(err error) error {
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

// stuck tells a loop of sessions from a fault that passes.
type stuck struct {
	code     string
	sessions int
}

// ended takes how a session ended, and whether it delivered anything. It returns the error with
// what to do about it, which is a [*RefusedError] once only an operator can end the loop.
func (s *stuck) ended(err error, delivered bool) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		s.sessions = 0
		return err
	}
	if s.code != refused.Code || delivered {
		s.code, s.sessions = refused.Code, 0
	}
	if cure := databaseCures[refused.Code]; cure != "" {
		return fmt.Errorf("%w: %s", err, cure)
	}
	if !slices.Contains(settingCodes, refused.Code) {
		return err
	}
	if s.sessions++; s.sessions < stuckAfter {
		return err
	}
	return refuse("%v. The last %d attempts ended so, and no retry cures it: relay check names each column that is not as the settings have it. "+
		"If what asks for it is a recovery or a first start from a moment, relay recover --cancel --yes withdraws that", err, s.sessions)
}
