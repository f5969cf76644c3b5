package deadletter

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// TestADeadLetterKeepsItsTenant, also one of an older relay that stored none and sent the group
// instead.
func TestADeadLetterKeepsItsTenant(t *testing.T) {
	t.Parallel()
	for _, tenant := range []string{"acme", "", "order/1"} {
		m := sink.Message{EventID: "1", Body: "{}", GroupID: "order/1", TenantID: tenant, DeduplicationID: "1"}
		text, err := json.Marshal(newMessage(&m))
		if err != nil {
			t.Fatal(err)
		}
		if older := !strings.Contains(string(text), "tenant_id"); older != (tenant == "order/1") {
			t.Errorf("stored as %s", text)
		}
		var stored message
		if err := json.Unmarshal(text, &stored); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, stored.message("1", 0)); diff != "" {
			t.Errorf("parked (-), redriven (+):\n%s", diff)
		}
	}
}

// TestADeadLetterKeepsItsType, which is the detail-type at an event bus, also if the attribute has
// another name. That of an older relay has the attribute alone.
func TestADeadLetterKeepsItsType(t *testing.T) {
	t.Parallel()
	for name, isStored := range map[string]bool{"event_type": false, "type": true} {
		m := sink.Message{
			EventID: "1", Type: "order.created", Body: "{}",
			Attributes: []sink.Attribute{{Name: name, DataType: sink.String, Value: "order.created"}},
		}
		text, err := json.Marshal(newMessage(&m))
		if err != nil {
			t.Fatal(err)
		}
		var stored message
		if err := json.Unmarshal(text, &stored); err != nil {
			t.Fatal(err)
		}
		if got := stored.Type != nil; got != isStored {
			t.Errorf("stored as %s", text)
		}
		if diff := cmp.Diff(m, stored.message("1", 0)); diff != "" {
			t.Errorf("parked (-), redriven (+):\n%s", diff)
		}
	}
}

// TestALongMessageIsEncodedAsAnyOther, because the text of a stored dead letter is compared.
func TestALongMessageIsEncodedAsAnyOther(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"x", "ü", "\u2028\\\"<&>\b\n\u0001\U0001F600", "\xff"} {
		for size := range 5 {
			body := strings.Repeat("y", size) + strings.Repeat(part, 2*pieceBytes/len(part))
			m := newMessage(&sink.Message{Body: body, GroupID: "order/1", DeduplicationID: "1"})
			want, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := m.encode(); err != nil || got != string(want) {
				t.Errorf("%q and %d bytes before it: %d bytes, want %d: %v", part, size, len(got), len(want), err)
			}
			var stored message
			if err := json.Unmarshal(want, &stored); err != nil {
				t.Fatal(err)
			}
			if got := stored.message("1", 0).Body; got != body {
				t.Errorf("%q and %d bytes before it: decoded as %d bytes, want %d", part, size, len(got), len(body))
			}
		}
	}
}

// TestALongTextIsDecodedAsAnyOther, whatever escapes its writer chose, and wherever a piece ends.
func TestALongTextIsDecodedAsAnyOther(t *testing.T) {
	t.Parallel()
	for _, part := range []string{`x`, `ü`, `\\`, `\"`, `\/`, `\u00fc`, `\ud83d\ude00`, `\ud83d`, `\ude00x`, `\u0000`} {
		for before := range 13 {
			quoted := []byte(`"` + strings.Repeat("y", before) + strings.Repeat(part, 2*pieceBytes/len(part)) + `"`)
			var want string
			var got text
			if err := json.Unmarshal(quoted, &want); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(quoted, &got); err != nil || string(got) != want {
				t.Errorf("%s and %d bytes before it: %d bytes, want %d: %v", part, before, len(got), len(want), err)
			}
		}
	}
}
