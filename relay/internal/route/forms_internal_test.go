package route

import (
	"slices"
	"testing"
)

func TestHeadersAreReadInEachForm(t *testing.T) {
	t.Parallel()
	tenant := []header{{name: "tenant", value: "acme"}, {name: "b", value: ""}}
	for text, want := range map[string][]header{
		`{"tenant": "acme", "b": ""}`:                                        tenant,
		`[{"key":"tenant","value":"acme"},{"key":"b","value":null}]`:         tenant,
		` [{"name": "tenant", "value": "acme"}, {"name": "b", "value": ""}]`: tenant,
		`"tenant"=>"acme", "b"=>NULL`:                                        tenant,
		`{tenant,acme,b,NULL}`:                                               tenant,
		`{{tenant,acme},{"b",""}}`:                                           tenant,
		`[{"key":"n","value":1.50}]`:                                         {{name: "n", value: "1.50"}},
		`"a \"b\\"=>"x, \"y\"=>z"`:                                           {{name: `a "b\`, value: `x, "y"=>z`}},
		`{"a,b","x \"y\" \\z"}`:                                              {{name: "a,b", value: `x "y" \z`}},
		`{"tenant","acme"}`:                                                  {{name: "tenant", value: "acme"}},
		`{a,1,a,2}`:                                                          {{name: "a", value: "2"}},
		`{}`:                                                                 nil,
		`[]`:                                                                 nil,
	} {
		var space [8]header
		got, ok := readHeaders(space[:0], text)
		slices.SortFunc(got, func(a, b header) int { return len(b.name) - len(a.name) })
		if !ok || !slices.Equal(got, want) {
			t.Errorf("%s is %+v, %v, want %+v", text, got, ok, want)
		}
	}
}

func TestOtherTextsAreNoHeaders(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`no JSON`, `{a}`, `{a,1,b}`, `{a,1`, `{{a,1},{b}}`, `{a,1}}`, `{a,1}x`, `{a,,b,1}`, `"a"`, `"a"=>`, `"a"=>"1`,
		`"a"=>"1" "b"=>"2"`, `"a"=>"1", `, `[1]`, `[{"key":"a"}]`, `[{"value":"a"}]`, `["a","b"]`, `{"a":1`, `"`, `{`,
		`[`,
		`{"a"1}`, `{a"b,1}`,
	} {
		var space [8]header
		if got, ok := readHeaders(space[:0], text); ok {
			t.Errorf("%s is %+v", text, got)
		}
	}
}

// FuzzReadOtherHeaders checks that no text makes the readers panic or run for ever.
func FuzzReadOtherHeaders(f *testing.F) {
	for _, text := range []string{`{a,1}`, `{{a,1},{b,2}}`, `"a"=>"1"`, `[{"key":"a","value":1}]`, `{{`, `{},`, `{"\`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		headers, ok := readOtherHeaders(text)
		if !ok && len(headers) > 0 {
			t.Errorf("%q is refused and has headers", text)
		}
	})
}
