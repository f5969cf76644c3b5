package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// identifier matches a name in SQL at the start of a text: plain, or in double quotes with each
// inner quote doubled.
var identifier = regexp.MustCompile(`^(?:[a-z_][a-z0-9_]*|"(?:[^"\x00]|"")+")`)

// maxIdentifier is the number of bytes after which Postgres truncates a name.
// https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
const maxIdentifier = 63

// parseIdentifiers reads names that are separated by dots, as SQL does. Unlike SQL it keeps the
// capitals of a plain name, because folding them to lower case is rarely intended.
func parseIdentifiers(text string) ([]string, error) {
	var names []string
	for rest := text; ; rest = rest[1:] {
		quoted := identifier.FindString(rest)
		name := quoted
		if strings.HasPrefix(quoted, `"`) {
			name = strings.ReplaceAll(quoted[1:len(quoted)-1], `""`, `"`)
		}
		rest = rest[len(quoted):]
		switch {
		case name == "" || rest != "" && rest[0] != '.':
			return nil, errors.New(`use lower-case letters, digits and underscores, not a digit first, or write the ` +
				`name in double quotes, as in '"Name"'`)
		case len(name) > maxIdentifier:
			return nil, fmt.Errorf("%s is longer than %d bytes", quoted, maxIdentifier)
		}
		names = append(names, name)
		if rest == "" {
			return names, nil
		}
	}
}

// split splits a list. A separator in double quotes separates nothing.
func split(text string, separator byte) []string {
	var parts []string
	begin, quote := 0, byte(0)
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == separator:
			parts = append(parts, strings.TrimSpace(text[begin:i]))
			begin = i + 1
		}
	}
	return append(parts, strings.TrimSpace(text[begin:]))
}

// parseNames reads a setting that lists alternative names, separated by commas.
func parseNames(setting, text string) ([]string, error) { return parseList(setting, text, ',') }

func parseList(setting, text string, separator byte) (names []string, err error) {
	for _, one := range split(text, separator) {
		name, err := parseName(setting, one)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// parseName reads the setting of one name.
func parseName(setting, text string) (string, error) {
	names, err := parseIdentifiers(text)
	if err == nil && len(names) > 1 {
		err = errors.New("a dot separates names: write a name with a dot in double quotes")
	}
	if err != nil {
		return "", fmt.Errorf("%s %q: %w", setting, text, err)
	}
	return names[0], nil
}

// parseTableName reads a setting that names a table. The schema defaults to public.
func parseTableName(setting, text string) (schema, name string, err error) {
	names, err := parseIdentifiers(text)
	if err == nil && len(names) > 2 {
		err = errors.New("write schema.table")
	}
	switch {
	case err != nil:
		return "", "", fmt.Errorf("%s %q: %w", setting, text, err)
	case len(names) == 1:
		return "public", names[0], nil
	}
	return names[0], names[1], nil
}
