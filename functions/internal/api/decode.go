package api

import (
	"encoding/json"
	"fmt"

	"github.com/outbox-relay/outbox-relay/functions/internal/order"
)

// decodeDraft decodes a client's order. It returns every invalid field, or an error if body is not
// JSON.
func decodeDraft(body []byte) (order.Draft, []fieldError, error) {
	if err := checkSyntax(body); err != nil {
		return order.Draft{}, nil, err
	}
	var fields reader
	draft := fields.draft(body)
	for _, wrong := range draft.Validate() {
		fields.report(wrong.Pointer, wrong.Detail)
	}
	return draft, fields.wrong, nil
}

func (r *reader) draft(body json.RawMessage) order.Draft {
	members := r.object("", body, "customer_id", "currency", "lines")
	draft := order.Draft{
		CustomerID: r.text("/customer_id", members["customer_id"]),
		Currency:   r.text("/currency", members["currency"]),
	}
	for i, line := range r.array("/lines", members["lines"]) {
		// Validate reports the excess, and further errors would only make the answer long.
		if i > order.MaxLines {
			break
		}
		draft.Lines = append(draft.Lines, r.line(fmt.Sprintf("/lines/%d", i), line))
	}
	return draft
}

func (r *reader) line(at string, body json.RawMessage) order.Line {
	members := r.object(at, body, "sku", "quantity", "unit_price")
	return order.Line{
		SKU:       r.text(at+"/sku", members["sku"]),
		Quantity:  r.integer(at+"/quantity", members["quantity"]),
		UnitPrice: r.integer(at+"/unit_price", members["unit_price"]),
	}
}
