package jsontext

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// document is the document of these tests.
type document struct {
	Text  string
	Count int
	List  []string
}

func scan(text string) (document, error) {
	var d document
	s := NewScanner(text)
	err := s.Object(func(name string) (err error) {
		switch name {
		case "Text":
			d.Text, err = s.String()
		case "Count":
			d.Count, err = s.Int()
		case "List":
			err = s.Array(func() error {
				element, err := s.String()
				d.List = append(d.List, element)
				return err
			})
		default:
			err = s.Skip()
		}
		return err
	})
	return d, err
}

func TestAnObjectIsReadAsEncodingJSONReadsIt(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{}`, `{"Text":"a","Count":-12,"List":["b","c"]}`, `{"Text":null}`, "{\"Text\":\"ü🙂\"}",
		` { "x" : {"y":[1,2.5e3,true,null,{}, "}"]} ,` + "\r\n\t" + `"Text" : "z" } `,
		`{"Text":"\"\\\/\b\f\n\r\t\u00fc\ud83d\ude42\ud83d\u0041\udc00x\ud83d"}`,
	} {
		var want document
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		got, err := scan(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v, encoding/json (-), scanner (+):\n%s", text, err, diff)
		}
	}
}

func TestWhatIsNoObjectIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, `[]`, `{`, `{"Text"`, `{"Text":`, `{"Text":"a"`, `{"Text":"a",`, `{"Text":"\`, `{"Text":"\u12`,
		`{"Text":"\ud83d\u`,
		`{"Text":"\x"}`, `{"Text":"\u00zz"}`, `{"Text":1}`, `{"Count":"1"}`, `{"Count":}`, `{"List":[`, `{"List":["a"}`,
		`{"x":`, `{x:1}`,
	} {
		if d, err := scan(text); err == nil {
			t.Errorf("%s was read as %+v", text, d)
		}
	}
}

// FuzzString compares strings with encoding/json, and checks that the scanner never panics.
func FuzzString(f *testing.F) {
	f.Add(`a`)
	f.Add(`\"\\\/\b\f\n\r\t\u00fc\ud83d\ude42`)
	f.Add(`\ud83d\u0041\udc00\ud83d`)
	f.Add(`"},{"`)
	f.Fuzz(func(t *testing.T, inner string) {
		text := `{"Text":"` + inner + `"}`
		got, err := scan(text)
		var want document
		if !utf8.ValidString(text) || json.Unmarshal([]byte(`"`+inner+`"`), &want.Text) != nil {
			return
		}
		if err != nil || got.Text != want.Text {
			t.Errorf("%s was read as %q, %v, want %q", text, got.Text, err, want.Text)
		}
	})
}
