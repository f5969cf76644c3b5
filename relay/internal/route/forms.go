package route

import (
	"encoding/json"
	"strings"
)

// readOtherHeaders reads headers that are no JSON object. The text alone tells the form, because no
// text has two of them:
//
//	[{"key": "tenant", "value": "acme"}]    a JSON array of objects with key or name, and value
//	"tenant"=>"acme", "b"=>NULL             hstore
//	{tenant,acme,b,NULL}                    a Postgres array of names and values in turn
//	{{tenant,acme},{b,NULL}}                the same in pairs
//
// A JSON object has a colon behind its first string, and an array of Postgres has none there.
func readOtherHeaders(text string) (headers []header, ok bool) {
	switch text = strings.Trim(text, jsonSpace); {
	case strings.HasPrefix(text, "["):
		headers, ok = readJSONPairs(text)
	case strings.HasPrefix(text, `"`):
		headers, ok = readHstore(text)
	case strings.HasPrefix(text, "{"):
		headers, ok = readArray(text)
	}
	return lastOfEach(headers), ok
}

// lastOfEach keeps the last header of each name.
func lastOfEach(headers []header) []header {
	kept := headers[:0]
	for i, h := range headers {
		later := false
		for _, other := range headers[i+1:] {
			later = later || other.name == h.name
		}
		if !later {
			kept = append(kept, h)
		}
	}
	return kept
}

func readJSONPairs(text string) (headers []header, ok bool) {
	var pairs []struct {
		Key, Name *string
		Value     json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &pairs); err != nil {
		return nil, false
	}
	for _, pair := range pairs {
		name := pair.Key
		if name == nil {
			name = pair.Name
		}
		if name == nil || pair.Value == nil {
			return nil, false
		}
		headers = append(headers, header{name: *name, value: headerValue(pair.Value)})
	}
	return headers, true
}

// readHstore reads the text form of hstore.
// https://www.postgresql.org/docs/current/hstore.html
func readHstore(text string) (headers []header, ok bool) {
	for rest := text; ; {
		var h header
		if h.name, rest, ok = cutQuoted(rest); !ok {
			return nil, false
		}
		if rest, ok = strings.CutPrefix(rest, "=>"); !ok {
			return nil, false
		}
		if after, isNull := strings.CutPrefix(rest, "NULL"); isNull {
			rest = after
		} else if h.value, rest, ok = cutQuoted(rest); !ok {
			return nil, false
		}
		headers = append(headers, h)
		if rest == "" {
			return headers, true
		}
		if rest, ok = strings.CutPrefix(rest, ", "); !ok {
			return nil, false
		}
	}
}

// cutQuoted cuts a text in double quotes off rest. A backslash makes the next character ordinary.
func cutQuoted(text string) (value, rest string, ok bool) {
	text, ok = strings.CutPrefix(text, `"`)
	if !ok {
		return "", "", false
	}
	var all strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return all.String(), text[i+1:], true
		case c == '\\' && i+1 < len(text):
			i++
			all.WriteByte(text[i])
		default:
			all.WriteByte(c)
		}
	}
	return "", "", false
}

// readArray reads the text form of an array of names and values, in one or two dimensions.
// https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
func readArray(text string) (headers []header, ok bool) {
	var elements []string
	rest, depth := text, 0
	for closed := false; !closed; {
		switch {
		case strings.HasPrefix(rest, "{"):
			depth++
			rest = rest[1:]
			continue
		case strings.HasPrefix(rest, "}"): // empty
		default:
			var element string
			if element, rest, ok = cutElement(rest); !ok {
				return nil, false
			}
			elements = append(elements, element)
		}
		for strings.HasPrefix(rest, "}") {
			depth--
			rest = rest[1:]
		}
		if closed = depth == 0; !closed {
			if rest, ok = strings.CutPrefix(rest, ","); !ok {
				return nil, false
			}
		}
	}
	if rest != "" || len(elements)%2 != 0 {
		return nil, false
	}
	for i := 0; i < len(elements); i += 2 {
		headers = append(headers, header{name: elements[i], value: elements[i+1]})
	}
	return headers, true
}

// cutElement cuts an element off an array. NULL is empty.
func cutElement(text string) (element, rest string, ok bool) {
	if strings.HasPrefix(text, `"`) {
		return cutQuoted(text)
	}
	end := strings.IndexAny(text, ",}")
	if end <= 0 || strings.ContainsAny(text[:end], `{"`) {
		return "", "", false
	}
	if element = text[:end]; element == "NULL" {
		element = ""
	}
	return element, text[end:], true
}
