package route

import (
	"cmp"
	"encoding/json"
	"slices"
	"testing"
)

// FuzzReadHeaders checks the fast path against encoding/json, for every text on which the fast path
// does not give up.
func FuzzReadHeaders(f *testing.F) {
	for _, text := range []string{
		`{"tenant": "acme", "traceparent": "00-01"}`, `{"a":"1"}`, ` { "a" : "1" , "b" : "" } `, `{}`, `{"a":"1",}`,
		`{"a":"1"}}`,
		`{"a":"1"`, `{"a":1}`, `{"a":"\u0041"}`, `{"a":"1","a":"2"}`, `[]`, `{"a" "1"}`, `{"a":"1" "b":"2"}`,
		"{\"a\":\"\x01\"}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var space [8]header
		got, ok := readPlainHeaders(space[:0], text)
		if !ok {
			return
		}
		var values map[string]string
		if err := json.Unmarshal([]byte(text), &values); err != nil {
			t.Fatalf("%q read as %v: %v", text, got, err)
		}
		var want []header
		for name, value := range values {
			want = append(want, header{name: name, value: value})
		}
		byName := func(a, b header) int { return cmp.Compare(a.name, b.name) }
		slices.SortFunc(got, byName)
		slices.SortFunc(want, byName)
		if !slices.Equal(got, want) {
			t.Fatalf("%q read as %v, want %v", text, got, want)
		}
	})
}

func TestUsualHeadersAreReadTheQuickWay(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`,
		`{"tenant": "acme", "x-amzn-trace-id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"}`,
		`{"a":"1","b":"2"}`,
	} {
		var space [8]header
		if _, ok := readPlainHeaders(space[:0], text); !ok {
			t.Errorf("%s is read the slow way", text)
		}
	}
}
