package route

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Headers selects the headers that become message attributes, and ranks them for the case that not
// all find room.
type Headers struct {
	first  []string
	others bool
	own    []string // names that no header may have; nil for the default ones
	// cloudEvents says that no header may have a name that an attribute of a CloudEvent has.
	cloudEvents bool
}

const (
	allOthers = "*"    // every header that is not listed
	noHeaders = "none" // the setting that drops all headers

	rankTraceparent = -1              // before all listed headers
	rankOthers      = math.MaxInt - 1 // after all listed headers
	rankOff         = math.MaxInt     // dropped
)

// ParseHeaders reads the setting RELAY_HEADERS: names separated by commas, in order of priority. A
// * at the end stands for all other headers, in the order of their names. Without a * the other
// headers are dropped. An empty setting means *, and "none" drops all headers. The header
// traceparent is always sent. own are the names that no header may have, or nil for the default
// ones. The error names every problem.
func ParseHeaders(setting string, own []string) (Headers, error) {
	switch setting = strings.TrimSpace(setting); setting {
	case "":
		return Headers{others: true, own: own}, nil
	case noHeaders:
		return Headers{own: own}, nil
	}
	h := Headers{own: own}
	var problems []error
	for name := range strings.SplitSeq(setting, ",") {
		if err := h.add(strings.TrimSpace(name)); err != nil {
			problems = append(problems, fmt.Errorf("%s: %q: %w", SettingHeaders, strings.TrimSpace(name), err))
		}
	}
	return h, errors.Join(problems...)
}

func (h *Headers) add(name string) error {
	switch {
	case h.others:
		return errors.New("a * stands for all that is not listed: put it at the end, once")
	case name == allOthers:
		h.others = true
		return nil
	case name == outbox.AttributeTraceparent:
		return errors.New("is always sent: take it off the list")
	case h.isOwn(name):
		return errors.New("is one of the relay's own attributes: take it off the list")
	case !outbox.ValidAttributeName(name):
		return errors.New("cannot be the name of a message attribute: letters, digits, hyphens, underscores and " +
			"dots are allowed")
	case slices.Contains(h.first, name):
		return errors.New("is listed twice: take one off the list")
	}
	h.first = append(h.first, name)
	return nil
}

// rank returns the priority of a header among the headers of its event, or rankOff.
func (h *Headers) rank(name string) int {
	if name == outbox.AttributeTraceparent {
		return rankTraceparent
	}
	if i := slices.Index(h.first, name); i >= 0 {
		return i
	}
	if h.others {
		return rankOthers
	}
	return rankOff
}

// header is one header of an event.
type header struct {
	name, value string
	rank        int
}

// readHeaders appends the headers in text to dst, or reports that text has none of the forms that
// are read. Of two headers with the same name the last counts, as in jsonb. A value that is no
// string becomes its JSON text. A null is skipped.
func readHeaders(dst []header, text string) (headers []header, ok bool) {
	if headers, ok = readPlainHeaders(dst, text); ok {
		return headers, true
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		return readOtherHeaders(text)
	}
	for name, value := range values {
		dst = append(dst, header{name: name, value: headerValue(value)})
	}
	return dst, true
}

func headerValue(value json.RawMessage) string {
	var text *string
	if err := json.Unmarshal(value, &text); err != nil {
		return string(value) // a number, a boolean, an array or an object
	}
	if text == nil {
		return ""
	}
	return *text
}

// readPlainHeaders is a fast path of readHeaders for a flat object of a few plain ASCII strings,
// which nearly all events have. It needs no allocation and a tenth of the time. It gives up on any
// other text.
func readPlainHeaders(dst []header, text string) (headers []header, ok bool) {
	if rest, ok := cutToken(text, '{'); ok {
		return readPlainMembers(dst, rest)
	}
	return nil, false
}

func readPlainMembers(dst []header, rest string) (headers []header, ok bool) {
	for len(dst) < cap(dst) {
		var h header
		if h.name, rest, ok = cutPlainString(rest); !ok {
			return nil, false
		}
		if rest, ok = cutToken(rest, ':'); !ok {
			return nil, false
		}
		if h.value, rest, ok = cutPlainString(rest); !ok {
			return nil, false
		}
		if slices.ContainsFunc(dst, func(earlier header) bool { return earlier.name == h.name }) {
			return nil, false
		}
		dst = append(dst, h)
		if end, closed := cutToken(rest, '}'); closed {
			return dst, strings.Trim(end, jsonSpace) == ""
		}
		if rest, ok = cutToken(rest, ','); !ok {
			return nil, false
		}
	}
	return nil, false
}

const jsonSpace = " \t\r\n"

// cutToken cuts the next character off text if it equals token.
func cutToken(text string, token byte) (rest string, ok bool) {
	if text == "" || text[0] != token { // white space can precede it
		text = strings.TrimLeft(text, jsonSpace)
	}
	if text == "" || text[0] != token {
		return "", false
	}
	return text[1:], true
}

// cutPlainString cuts a JSON string of ASCII without escapes off text.
func cutPlainString(text string) (value, rest string, ok bool) {
	if text, ok = cutToken(text, '"'); !ok {
		return "", "", false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"':
			return text[:i], text[i+1:], true
		case c == '\\' || c < ' ' || c > '~':
			return "", "", false
		}
	}
	return "", "", false
}
