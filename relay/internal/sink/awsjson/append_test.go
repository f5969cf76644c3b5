package awsjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink/awsjson"
)

// TestEachByteIsEscapedWhereverItIs: eight bytes are looked at together, at most.
func TestEachByteIsEscapedWhereverItIs(t *testing.T) {
	t.Parallel()
	for c := range rune(0x100) {
		for before := range 18 {
			want := strings.Repeat("ä!", before) + string(c) + "\x7f~ !#[]"
			text := awsjson.AppendMember(nil, "", want)
			var got string
			if err := json.Unmarshal(text, &got); err != nil || got != want {
				t.Fatalf("%q is written as %s and read as %q, %v", want, text, got, err)
			}
		}
	}
}

// BenchmarkAppendMember writes a payload with many strings, and one with a long one.
func BenchmarkAppendMember(b *testing.B) {
	for name, payload := range map[string]string{
		"short strings": strings.Repeat(`{"sku":"A-1","quantity":2,"unit_price":1999},`, 7),
		"long string":   `{"id":"0193f7a2-7b1e-7c3a-9c55-0242ac120002","lines":"` + strings.Repeat("x", 240) + `"}`,
	} {
		b.Run(name, func(b *testing.B) {
			var text []byte
			for b.Loop() {
				text = awsjson.AppendMember(text[:0], `,"MessageBody":`, payload)
			}
		})
	}
}
