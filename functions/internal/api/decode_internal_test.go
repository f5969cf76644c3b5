package api

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/functions/internal/order"
)

func TestEveryValidOrderIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	name := rapid.StringMatching(`[\pL\pN"\\<&/]{1,60}`)
	line := rapid.Custom(func(t *rapid.T) order.Line {
		return order.Line{
			SKU:       name.Draw(t, "sku"),
			Quantity:  rapid.Int64Range(1, 1<<20).Draw(t, "quantity"),
			UnitPrice: rapid.Int64Range(0, 1<<20).Draw(t, "price"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		draft := order.Draft{
			CustomerID: name.Draw(t, "customer"),
			Currency:   rapid.StringMatching(`[A-Z]{3}`).Draw(t, "currency"),
			Lines:      rapid.SliceOfN(line, 1, 30).Draw(t, "lines"),
		}
		body, err := json.MarshalIndent(draft, " ", rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "indent"))
		if err != nil {
			t.Fatal(err)
		}
		decoded, wrong, err := decodeDraft(body)
		if err != nil || wrong != nil {
			t.Fatalf("%s is refused: %+v %v", body, wrong, err)
		}
		if diff := cmp.Diff(draft, decoded); diff != "" {
			t.Fatalf("(-written +read):\n%s", diff)
		}
	})
}

// FuzzDecodeDraft compares the decoder with encoding/json: an accepted body means the same to both,
// and its encoding is accepted too.
func FuzzDecodeDraft(f *testing.F) {
	for _, seed := range []string{
		`{"customer_id":"c","currency":"EUR","lines":[{"sku":"a","quantity":1,"unit_price":0}]}`,
		`{"customer_id":"c","customer_id":"d","currency":1,"lines":[{}],"x":null}`,
		`{"lines":[[],{"sku":"\ud800"},1e9]}`,
		`{"a":1} {}`, `[`, `""`, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		draft, wrong, err := decodeDraft(body)
		if (err == nil) != json.Valid(bytes.ToValidUTF8(body, []byte{0})) {
			t.Fatalf("JSON or not: %v", err)
		}
		if err != nil || len(wrong) > 0 {
			return
		}
		var reference order.Draft
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&reference); err != nil {
			t.Fatalf("encoding/json refuses what was taken: %v", err)
		}
		if diff := cmp.Diff(reference, draft); diff != "" {
			t.Fatalf("(-encoding/json +read):\n%s", diff)
		}
		if problems := draft.Validate(); problems != nil {
			t.Fatalf("an invalid order was taken: %v", problems)
		}
	})
}
