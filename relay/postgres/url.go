package postgres

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// encodings are the characters that end a password, or seem to, with their percent encodings.
var encodings = map[rune]string{'@': "%40", '/': "%2F", '?': "%3F", '#': "%23"}

// libpqKeywords are the parameters of a URL whose values may contain an @.
var libpqKeywords = []string{
	"user", "password", "host", "hostaddr", "port", "dbname", "application_name", "options",
	"sslmode", "sslcert", "sslkey", "sslrootcert", "passfile",
	"service", "servicefile", "connect_timeout", "target_session_attrs", "krbsrvname", "channel_binding",
}

// checkURL refuses a URL in which a part of the password would be read as a host, a port or a
// database. The resolver would look it up, and errors would contain it. libpq ends user and
// password at the first @, unless a / precedes it. The error quotes no part of the URL.
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
func checkURL(text string) error {
	_, rest, found := strings.Cut(text, "://")
	if !found {
		return nil
	}
	address := rest
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		address = rest[i+1:]
	}
	last := strings.LastIndex(address, "@")
	if last < 0 || isParameter(address) {
		return nil
	}
	_, secret, _ := strings.Cut(rest[:len(rest)-len(address)+last], ":")
	return errors.New("DATABASE_URL has an @ behind its host, so its password seems to contain a character that " +
		"ends it: percent-encode it, " + encodingOf(secret))
}

// encodingOf lists the percent encodings of the characters in secret that end a password.
func encodingOf(secret string) string {
	var all []string
	for _, c := range "@/?#" {
		if strings.ContainsRune(secret, c) {
			all = append(all, fmt.Sprintf("%c as %s", c, encodings[c]))
		}
	}
	if len(all) == 0 {
		return "@ as %40"
	}
	return strings.Join(all, ", ")
}

// isParameter reports whether every @ of the address is in the value of a libpq parameter.
func isParameter(address string) bool {
	before, query, _ := strings.Cut(address, "?")
	if strings.Contains(before, "@") {
		return false
	}
	for pair := range strings.SplitSeq(query, "&") {
		name, _, assigned := strings.Cut(pair, "=")
		decoded, err := url.QueryUnescape(name)
		if err != nil || !assigned || !slices.Contains(libpqKeywords, decoded) {
			return false
		}
	}
	return true
}

// parameterName matches the name of a server setting.
var parameterName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.$]*$`)

// checkParameters refuses parameters that cannot be server settings. Text behind an unquoted space,
// or behind an unencoded &, would go to the server as a setting and come back in its error.
func checkParameters(conn *pgconn.Config) error {
	for name := range conn.RuntimeParams {
		if !parameterName.MatchString(name) {
			return errors.New("DATABASE_URL has a parameter that cannot be a setting: if its password contains a " +
				"space or a quote, quote it as in password='it\\'s secret', or percent-encode it in a URL (& as " +
				"%26, space as %20)")
		}
	}
	return nil
}

// unknownParameter are the server's SQLSTATEs for an unknown setting or an invalid value in a
// startup message.
var unknownParameter = []string{pgerrcode.UndefinedObject, pgerrcode.InvalidParameterValue}

// withoutParameters hides the server's text in the error of a connect if the text names a setting.
// The name may be a part of a password that was not encoded. The error keeps its SQLSTATE.
func withoutParameters(err error) error {
	var connecting *pgconn.ConnectError
	var refused *pgconn.PgError
	if !errors.As(err, &connecting) || !errors.As(err, &refused) || !slices.Contains(unknownParameter, refused.Code) {
		return err
	}
	return &quietError{code: refused.Code, cause: err}
}

// quietError hides the text of its cause.
type quietError struct {
	code  string
	cause error
}

func (e *quietError) Error() string {
	return fmt.Sprintf("the server refuses a setting in DATABASE_URL or PGOPTIONS, or its value (SQLSTATE %s): "+
		"correct it, and percent-encode & in a password as %%26", e.code)
}

func (e *quietError) Unwrap() error { return e.cause }
