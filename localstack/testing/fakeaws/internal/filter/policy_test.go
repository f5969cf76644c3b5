package filter

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws/internal/queue"
)

func TestAPolicyTakesWhatItsConditionsSay(t *testing.T) {
	t.Parallel()
	message := []queue.Attribute{
		{Name: "event_type", DataType: "String", StringValue: "order.created"},
		{Name: "price", DataType: "Number", StringValue: "12.50"},
		{Name: "tags", DataType: "String.Array", StringValue: `["red", "blue", 7, null, true]`},
		{Name: "data", DataType: "Binary", BinaryValue: []byte("x")},
	}
	for policy, want := range map[string]bool{
		`{}`:                                true,
		`{"event_type": ["order.created"]}`: true,
		`{"event_type": ["order.shipped"]}`: false,
		`{"event_type": ["order.shipped", "order.created"]}`: true,
		`{"event_type": ["order.created"], "price": [12.5]}`: true,
		`{"event_type": ["order.created"], "price": [13]}`:   false,
		`{"missing": ["x"]}`:                                                 false,
		`{"event_type": [{"prefix": "order."}]}`:                             true,
		`{"event_type": [{"prefix": "orders"}]}`:                             false,
		`{"event_type": [{"suffix": ".created"}]}`:                           true,
		`{"event_type": [{"equals-ignore-case": "Order.Created"}]}`:          true,
		`{"event_type": [{"anything-but": "order.created"}]}`:                false,
		`{"event_type": [{"anything-but": ["a", "b"]}]}`:                     true,
		`{"event_type": [{"anything-but": {"prefix": "order."}}]}`:           false,
		`{"event_type": [{"anything-but": {"suffix": ".shipped"}}]}`:         true,
		`{"missing": [{"anything-but": ["a"]}]}`:                             false,
		`{"event_type": [{"exists": true}], "missing": [{"exists": false}]}`: true,
		`{"event_type": [{"exists": false}]}`:                                false,
		`{"missing": [{"exists": true}]}`:                                    false,
		`{"price": [{"numeric": ["=", 12.5]}]}`:                              true,
		`{"price": [{"numeric": [">", 10, "<=", 12.5]}]}`:                    true,
		`{"price": [{"numeric": [">=", 12.5, "<", 12.5]}]}`:                  false,
		`{"event_type": [{"numeric": [">", 0]}]}`:                            false,
		`{"price": ["12.50"]}`:                                               false,
		`{"price": [{"anything-but": 12.5}]}`:                                false,
		`{"tags": ["blue"]}`:                                                 true,
		`{"tags": [7]}`:                                                      true,
		`{"tags": [null]}`:                                                   true,
		`{"tags": [true]}`:                                                   true,
		`{"tags": ["green"]}`:                                                false,
		`{"data": ["x"]}`:                                                    false,
	} {
		p, err := Parse(policy)
		if err != nil {
			t.Errorf("%s: %v", policy, err)
		}
		if p.Match(message) != want {
			t.Errorf("%s matches: %v, want %v", policy, !want, want)
		}
	}
}

func TestAPolicyThatIsNotUnderstoodIsRefused(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{
		``, `[]`, `{"a": "b"}`, `{"a": {"b": ["c"]}}`, `{"$or": [{"a": ["b"]}]}`, `{"a": [["b"]]}`, `{"a": [{}]}`,
		`{"a": [{"prefix": 1}]}`, `{"a": [{"prefix": "b", "suffix": "c"}]}`, `{"a": [{"cidr": "10.0.0.0/8"}]}`,
		`{"a": [{"exists": "yes"}]}`, `{"a": [{"numeric": [">"]}]}`, `{"a": [{"numeric": ["~", 1]}]}`,
		`{"a": [{"numeric": ["=", "1"]}]}`, `{"a": [{"anything-but": [["b"]]}]}`, `{"a": [{"anything-but": {"x": ` +
			`"y"}}]}`,
	} {
		if _, err := Parse(policy); err == nil {
			t.Errorf("%s is taken", policy)
		}
	}
}
