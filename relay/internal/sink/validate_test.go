package sink_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

var limits = sink.Limits{FIFO: true, MaxMessageBytes: 1000, MaxBatchBytes: 1000}

// validText generates text of every character that SQS accepts.
var validText = rapid.StringOf(rapid.OneOf(
	rapid.SampledFrom([]rune("\t\n\r <&'\"\\\u007f\u0080\ud7ff\ue000\ufffd\U00010000\U0010ffff")),
	rapid.Rune()).Filter(allowed))

// allowed is the list of characters in the manual of SendMessage.
func allowed(r rune) bool {
	return r == 0x9 || r == 0xA || r == 0xD || 0x20 <= r && r <= 0xD7FF || 0xE000 <= r && r <= 0xFFFD ||
		0x10000 <= r && r <= 0x10FFFF
}

var token = rapid.StringMatching(`[!-~]{1,128}`)

func validMessage(t *rapid.T) *sink.Message {
	m := &sink.Message{
		Body:            validText.Filter(func(s string) bool { return s != "" && len(s) < 200 }).Draw(t, "body"),
		GroupID:         token.Draw(t, "group"),
		DeduplicationID: token.Draw(t, "id"),
	}
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Za-z0-9_-]{1,20}(\.[a-z]{1,5})?`), 0, 10, rapid.ID[string])
	for _, name := range names.Filter(noneReserved).Draw(t, "names") {
		value := rapid.StringMatching(`-?[0-9]{1,18}(\.[0-9]{1,18})?`).Draw(t, "value")
		m.Attributes = append(m.Attributes, sink.Attribute{
			Name: name, Value: value,
			DataType: rapid.SampledFrom([]sink.DataType{sink.String, sink.Number}).Draw(t, "type"),
		})
	}
	return m
}

func noneReserved(names []string) bool {
	for _, name := range names {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") {
			return false
		}
	}
	return true
}

func TestWhatKeepsToTheRulesIsValid(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := validMessage(t)
		exact := sink.Limits{FIFO: true, MaxMessageBytes: m.Size()}
		if err := sink.Validate(m, exact); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
		exact.MaxMessageBytes--
		if err := sink.Validate(m, exact); err == nil || err.Code != "InvalidParameterValue" {
			t.Errorf("one byte more than the limit: %v", err)
		}
	})
}

func TestTextIsValidExactlyWhenEveryCharacterIs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &sink.Message{GroupID: "g", DeduplicationID: "d"}
		m.Body = string(rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "bytes"))
		if rapid.Bool().Draw(t, "characters") {
			m.Body = rapid.StringN(1, 20, -1).Draw(t, "text")
		}
		want := utf8.ValidString(m.Body) && strings.IndexFunc(m.Body, func(r rune) bool { return !allowed(r) }) < 0
		err := sink.Validate(m, limits)
		if (err == nil) != want || err != nil && err.Code != "InvalidMessageContents" {
			t.Errorf("%q: %v, want it valid: %v", m.Body, err, want)
		}
	})
}

func TestValidIDsArePrintableASCIIWithoutSpaces(t *testing.T) {
	t.Parallel()
	const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.OneOf(rapid.StringN(0, 140, -1), rapid.StringMatching(`[ -~]{0,140}`), token).Draw(t, "id")
		want := len(id) >= 1 && len(id) <= 128 && strings.Trim(id, punctuation+alphanumeric) == "" &&
			strings.IndexFunc(id, func(r rune) bool { return !strings.ContainsRune(punctuation+alphanumeric, r) }) < 0
		asGroup := &sink.Message{Body: "b", GroupID: id, DeduplicationID: "d"}
		if err := sink.Validate(asGroup, limits); (err == nil) != want {
			t.Errorf("group %q: %v, want it valid: %v", id, err, want)
		}
		asDeduplication := &sink.Message{Body: "b", GroupID: "g", DeduplicationID: id}
		if err := sink.Validate(asDeduplication, limits); (err == nil) != want {
			t.Errorf("deduplication id %q: %v, want it valid: %v", id, err, want)
		}
		standard := sink.Limits{MaxMessageBytes: 1000}
		if err := sink.Validate(asDeduplication, standard); err != nil {
			t.Errorf("a deduplication id that is not sent: %v", err)
		}
	})
}

func TestAnAttributeThatTheBrokerWouldRefuseIsInvalid(t *testing.T) {
	t.Parallel()
	attribute := func(name, dataType, value string) []sink.Attribute {
		return []sink.Attribute{{Name: name, DataType: sink.ParseDataType(dataType), Value: value}}
	}
	eleven := make([]sink.Attribute, 11)
	for i := range eleven {
		eleven[i] = sink.Attribute{Name: string(rune('a' + i)), DataType: sink.String, Value: "v"}
	}
	for reason, attributes := range map[string][]sink.Attribute{
		"more than ten":       eleven,
		"twice the same name": append(attribute("a", "String", "1"), attribute("a", "String", "2")...),
		"no name":             attribute("", "String", "v"),
		"a long name":         attribute(strings.Repeat("n", 256), "String", "v"),
		"a name of AWS's own": attribute("aWs.x", "String", "v"),
		"a point in front":    attribute(".a", "String", "v"),
		"no type":             attribute("a", "", "v"),
		"a binary value":      attribute("a", "Binary", "v"),
		"no value":            attribute("a", "String", ""),
		"bad UTF-8":           attribute("a", "String", "\xff"),
		"no number":           attribute("a", "Number", "12a"),
		"too many digits":     attribute("a", "Number", strings.Repeat("1", 39)),
		"infinity":            attribute("a", "Number", "Inf"),
	} {
		m := &sink.Message{Body: "b", GroupID: "g", DeduplicationID: "d", Attributes: attributes}
		if sink.Validate(m, limits) == nil {
			t.Errorf("%s is valid", reason)
		}
	}
	m := &sink.Message{Body: "b", GroupID: "g", DeduplicationID: "d", Attributes: eleven[:10]}
	m.Attributes[0] = sink.Attribute{
		Name:     strings.Repeat("n", 255),
		DataType: sink.Number,
		Value:    strings.Repeat("1", 37) + ".5",
	}
	if err := sink.Validate(m, limits); err != nil {
		t.Errorf("ten attributes at the edge of what is allowed: %v", err)
	}
}

func TestARefusalNeverQuotesTheMessage(t *testing.T) {
	t.Parallel()
	const secret = "4111111111111111"
	for _, m := range []*sink.Message{
		{Body: secret + "\x01", GroupID: "g", DeduplicationID: "d"},
		{Body: "b", GroupID: secret + " ", DeduplicationID: "d"},
		{
			Body: "b", GroupID: "g", DeduplicationID: "d",
			Attributes: []sink.Attribute{{Name: "a", DataType: sink.Number, Value: secret + "x"}},
		},
		{Body: strings.Repeat(secret, 100), GroupID: "g", DeduplicationID: "d"},
	} {
		if err := sink.Validate(m, limits); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%v", err)
		}
	}
}
