package order_test

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/functions/internal/order"
)

func TestEveryWrongFieldIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	tooMany := make([]order.Line, order.MaxLines+1)
	for i := range tooMany {
		tooMany[i] = order.Line{SKU: "a", Quantity: 1, UnitPrice: 1}
	}
	good := []order.Line{{SKU: "a", Quantity: 1, UnitPrice: 0}}
	for name, test := range map[string]struct {
		draft order.Draft
		wrong []string
	}{
		"nothing":          {order.Draft{CustomerID: "c", Currency: "EUR", Lines: good}, nil},
		"any language":     {order.Draft{CustomerID: "Žofie 日本", Currency: "JPY", Lines: good}, nil},
		"everything empty": {order.Draft{}, []string{"/customer_id", "/currency", "/lines"}},
		"too many lines":   {order.Draft{CustomerID: "c", Currency: "EUR", Lines: tooMany}, []string{"/lines"}},
		"names": {
			order.Draft{CustomerID: strings.Repeat("é", order.MaxCustomerID+1), Currency: "eur", Lines: []order.Line{
				{SKU: " a", Quantity: 1}, {SKU: "a\nb", Quantity: 1}, {SKU: "a\ufffd", Quantity: 1}, {
					SKU:      "a\x00",
					Quantity: 1,
				},
			}},
			[]string{"/customer_id", "/currency", "/lines/0/sku", "/lines/1/sku", "/lines/2/sku", "/lines/3/sku"},
		},
		"numbers": {
			order.Draft{CustomerID: "c", Currency: "EURO", Lines: []order.Line{
				{SKU: "a", Quantity: 0, UnitPrice: -1}, {
					SKU: "a", Quantity: order.MaxAmount + 1,
					UnitPrice: math.MaxInt64,
				},
			}},
			[]string{
				"/currency", "/lines/0/quantity", "/lines/0/unit_price", "/lines/1/quantity",
				"/lines/1/unit_price",
			},
		},
		"the largest total": {order.Draft{
			CustomerID: "c", Currency: "EUR",
			Lines: []order.Line{{SKU: "a", Quantity: 1, UnitPrice: order.MaxAmount}},
		}, nil},
		"total": {
			order.Draft{CustomerID: "c", Currency: "EUR", Lines: []order.Line{
				{SKU: "a", Quantity: 1, UnitPrice: order.MaxAmount}, {SKU: "b", Quantity: 1, UnitPrice: 1},
			}},
			[]string{"/lines"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var wrong []string
			for _, problem := range test.draft.Validate() {
				wrong = append(wrong, problem.Pointer)
			}
			if diff := cmp.Diff(test.wrong, wrong); diff != "" {
				t.Errorf("fields named (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTotalIsTheExactSumOrRefused(t *testing.T) {
	t.Parallel()
	amounts := func(least int64) *rapid.Generator[int64] {
		return rapid.OneOf(rapid.Int64Range(least, 1000), rapid.Int64Range(least, 1<<27),
			rapid.Int64Range(least, order.MaxAmount))
	}
	line := rapid.Custom(func(t *rapid.T) order.Line {
		return order.Line{Quantity: amounts(1).Draw(t, "quantity"), UnitPrice: amounts(0).Draw(t, "price")}
	})
	rapid.Check(t, func(t *rapid.T) {
		draft := order.Draft{Lines: rapid.SliceOfN(line, 1, 20).Draw(t, "lines")}
		exact := new(big.Int)
		for _, l := range draft.Lines {
			exact.Add(exact, new(big.Int).Mul(big.NewInt(l.Quantity), big.NewInt(l.UnitPrice)))
		}
		total, ok := draft.Total()
		if fits := exact.Cmp(big.NewInt(order.MaxAmount)) <= 0; ok != fits {
			t.Fatalf("total %s: taken = %t", exact, ok)
		}
		if ok && total != exact.Int64() {
			t.Fatalf("total %d, the sum is %s", total, exact)
		}
	})
}

// The longest order, in the characters with the longest JSON encoding, makes an event that SNS
// accepts.
func TestEveryOrderFitsIntoAnSNSMessage(t *testing.T) {
	t.Parallel()
	const snsLimit, attributes = 256 << 10, 4 << 10
	draft := order.Draft{CustomerID: strings.Repeat("<", order.MaxCustomerID), Currency: "EUR"}
	for range order.MaxLines {
		draft.Lines = append(draft.Lines, order.Line{
			SKU: strings.Repeat("<", order.MaxSKU), Quantity: 1_000_000_000,
			UnitPrice: 10_000,
		})
	}
	if problems := draft.Validate(); problems != nil {
		t.Fatal(problems)
	}
	o, err := order.New(draft, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(payload) > snsLimit-attributes {
		t.Errorf("payload of %d bytes", len(payload))
	}
}
