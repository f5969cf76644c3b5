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

// encodings are the characters that end a password, or are often taken to, and how a URL writes
// them.
var encodings = map[rune]string{'@': "%40", '/': "%2F", '?': "%3F", '#': "%23"}

// libpqKeywords are the parameters of a URL in which an @ is no sign of a password that was not
// encoded.
var libpqKeywords = []string{
	"user", "password", "host", "hostaddr", "port", "dbname", "application_name", "options", "sslmode", "sslcert", "sslkey", "sslrootcert",
	"passfile", "service", "servicefile", "connect_timeout", "target_session_attrs", "krbsrvname", "channel_binding",
}

// checkURL refuses a URL from which part of a password would be read as a host, a port or a
// database: it would be looked up in DNS, and stand in errors. A URL is read as libpq does: the
// user and the password end at the first @, unless a / comes before it. The error names no part of
// the URL.
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
	return errors.New("DATABASE_URL has an @ behind its host, so that its password seems to hold a character that ends it: percent-encode it, " +
		encodingOf(secret))
}

// encodingOf says how the characters are written that end a password.
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

// isParameter reports whether every @ of the address is in the value of a parameter that libpq
// knows.
func isParameter(address string) bool {
	before, query, _ := strings.Cut(address, "?")
	if strings.Contains(before, "@") {
		return false
	}
	for pair := range strings.SplitSeq(query, "&") {
		name, _, assigned := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err != nil || !assigned || !slices.Contains(libpqKeywords, decoded) {
			return false
		}
	}
	return true
}

// parameterName is the name of a setting of the server.
var parameterName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.$]*$`)

// checkParameters refuses settings of the server that can be none. What a connection string has
// behind an unquoted space, or behind a & that was not encoded, would go to the server as one, and
// come back in its error.
func checkParameters(conn *pgconn.Config) error {
	for name := range conn.RuntimeParams {
		if !parameterName.MatchString(name) {
			return errors.New("DATABASE_URL has a parameter whose name no setting can have: if its password holds a space or a quote, quote it as in " +
				"password='it\\'s secret', and in a URL percent-encode it (& as %26, space as %20)")
		}
	}
	return nil
}

// unknownParameter are the answers to a startup message with a setting that the server does not
// know, or not with this value.
var unknownParameter = []string{pgerrcode.UndefinedObject, pgerrcode.InvalidParameterValue}

// withoutParameters returns the error of a connect without the server's text if that names a
// setting: it may be a part of a password that was not encoded. What can be told apart by its code
// still can.
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
	return fmt.Sprintf("the server does not take a setting that DATABASE_URL or PGOPTIONS names, or its value (SQLSTATE %s): correct it, and "+
		"percent-encode & in a password as %%26", e.code)
}

func (e *quietError) Unwrap() error { return e.cause }
