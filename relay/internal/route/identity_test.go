package route_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

const uuid = "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11"

// TestGroupIsAContract must never be changed: two versions of the relay with different groups
// reorder aggregates.
func TestGroupIsAContract(t *testing.T) {
	t.Parallel()
	fits := strings.Repeat("x", 122)
	tests := []struct{ aggregateType, aggregateID, eventID, want string }{
		{"order", "4711", uuid, "order/4711"},
		{"order", uuid, uuid, "order/" + uuid},
		{"", "4711", uuid, "/4711"},
		{"shop/order", "a/b", uuid, "shop%2Forder/a/b"},
		{"Bestellung groß", "100%", uuid, "Bestellung%20gro%C3%9F/100%25"},
		{"order", "\x00\x7f\t", uuid, "order/%00%7F%09"},
		{"t", "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~", uuid, "t/!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"},
		{"order", fits, uuid, "order/" + fits},
		{"order", fits + "x", uuid, "sha256:640af478a36923b18e3a744808a41de46b9fbebff256c55c2159a616b52230ed"},
		{"order", fits[:121] + "ß", uuid, "sha256:8d7d57cb93743c133c4d37a57fb26e3bf614d0472c6e6603be241f1820f88ace"},
		{"order", "", uuid, "event:" + uuid},
		{"", "", "a/b c", "event:a%2Fb%20c"},
		{"", "", fits, "event:" + fits},
		{"", "", fits + "x", "sha256:e21530cfb1292221af8047a62f4dca4322d6daf465b39ba7d3a8cd9b539f15fe"},
		{"", "", "", "event:seq:17"},
	}
	for _, test := range tests {
		e := outbox.Envelope{
			ID: test.eventID, AggregateType: test.aggregateType, AggregateID: test.aggregateID,
			Sequence: "17",
		}
		if got := route.Group(&e, nil); got != test.want {
			t.Errorf("group of %q %q (event %q) is\n%s, want\n%s", test.aggregateType, test.aggregateID, test.eventID,
				got, test.want)
		}
	}
}

// TestKeyGroupIsAContract must never be changed, for the same reason.
func TestKeyGroupIsAContract(t *testing.T) {
	t.Parallel()
	for want, extra := range map[string][]string{
		"key:eu,7":      {"7", "unread", "eu"},
		"key:e%2Fu,%2C": {",", "", "e/u"},
		"key:,7":        {"7", "", ""},
		"event:" + uuid: {"", "unread", ""},
		"sha256:6a4ce6532daa1707204851309c41cc5436b08fd0484ef2885b4df6f382a68df5": {strings.Repeat("x", 128), "", ""},
	} {
		e := outbox.Envelope{ID: uuid, AggregateType: "order", AggregateID: "4711", Extra: extra}
		if got := route.Group(&e, []int{2, 0}); got != want {
			t.Errorf("group of %q is %s, want %s", extra, got, want)
		}
	}
}

// TestDeduplicationIDIsAContract must never be changed. During a rolling upgrade two versions of
// the relay can send the same event, and a broker delivers it once only if both use the same id.
func TestDeduplicationIDIsAContract(t *testing.T) {
	t.Parallel()
	tests := []struct{ schema, table, id, want string }{
		{"public", "outbox_events", uuid, uuid},
		{"public", "outbox_events", strings.ToUpper(uuid), "public.outbox_events/" + strings.ToUpper(uuid)},
		{"public", "outbox_events", "17", "public.outbox_events/17"},
		{"public", "outbox_events", "17#r1", "public.outbox_events/17%23r1"},
		{"public", "outbox_events", "a/b c%", "public.outbox_events/a/b%20c%25"},
		{"a.b", "c/d.e", "17", "a%2Eb.c%2Fd.e/17"},
		{"public", "outbox_events", "", "public.outbox_events/seq:4711"},
		{"public", "outbox_events", strings.Repeat("x", 85), "public.outbox_events/" + strings.Repeat("x", 85)},
		{
			"public", "outbox_events", strings.Repeat("x", 86),
			"sha256:e99519a61f52dce398951603fb4b3875e2a8a82703950bd750176df079f9474a",
		},
	}
	for _, test := range tests {
		e := outbox.Envelope{ID: test.id, Sequence: "4711"}
		if got := route.DeduplicationID(&e, test.schema, test.table); got != test.want {
			t.Errorf("deduplication id of %q in %s.%s is\n%s, want\n%s", test.id, test.schema, test.table, got,
				test.want)
		}
	}
}

func TestRedrivesHaveIDsOfTheirOwn(t *testing.T) {
	t.Parallel()
	if got := route.RedriveID(uuid, 2); got != uuid+"#r2" {
		t.Errorf("second redrive has id %s", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		first, second := identifierText().Draw(t, "id"), identifierText().Draw(t, "other id")
		n := rapid.IntRange(math.MinInt, math.MaxInt).Draw(t, "redrive")
		redrive := route.RedriveID(deduplicationID(first), n)
		requireIdentifier(t, redrive)
		if redrive == deduplicationID(second) {
			t.Fatalf("redrive %d of %q has the id of the first delivery of %q", n, first, second)
		}
	})
}

func deduplicationID(id string) string {
	return route.DeduplicationID(&outbox.Envelope{ID: id}, "public", "outbox_events")
}

func TestAggregatesShareNoGroup(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawOwner(t, "a"), drawOwner(t, "b")
		groupA, groupB := route.Group(&a, nil), route.Group(&b, nil)
		requireIdentifier(t, groupA)
		if same := ownerOf(a) == ownerOf(b); same != (groupA == groupB) {
			t.Fatalf("%+v and %+v have the groups %s and %s", a, b, groupA, groupB)
		}
	})
}

// ownerOf names the owner of an event's group: its aggregate, or the event itself.
func ownerOf(e outbox.Envelope) string {
	if e.AggregateID == "" {
		return fmt.Sprintf("event %q", e.ID)
	}
	return fmt.Sprintf("aggregate %q %q", e.AggregateType, e.AggregateID)
}

func drawOwner(t *rapid.T, label string) outbox.Envelope {
	return outbox.Envelope{
		ID: rapid.OneOf(rapid.Just(uuid),
			identifierText()).Filter(func(s string) bool { return s != "" }).Draw(t, label+" id"),
		AggregateType: identifierText().Draw(t, label+" aggregate type"),
		AggregateID:   identifierText().Draw(t, label+" aggregate id"),
	}
}

func TestEventsShareNoDeduplicationID(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var ids, rows [2]string
		for i := range 2 {
			schema, table := identifierText().Draw(t, "schema"), identifierText().Draw(t, "table")
			e := outbox.Envelope{ID: rapid.OneOf(rapid.Just(uuid), identifierText()).Draw(t, "id"), Sequence: "1"}
			ids[i] = route.DeduplicationID(&e, schema, table)
			requireIdentifier(t, ids[i])
			if rows[i] = uuid; e.ID != uuid { // a UUID is the same event in any table
				rows[i] = fmt.Sprintf("%q %q %q", schema, table, route.EventID(&e))
			}
		}
		if (rows[0] == rows[1]) != (ids[0] == ids[1]) {
			t.Fatalf("%s and %s have the deduplication ids %s and %s", rows[0], rows[1], ids[0], ids[1])
		}
	})
}

// identifierText draws texts that would collide if they were joined without escaping, and some long
// ones.
func identifierText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringOfN(rapid.RuneFrom([]rune("a/%.#2F5:é ")), 0, 4, -1),
		rapid.SampledFrom([]string{
			"event:", "event", "sha256", "sha256:", "seq:1", uuid + "#r1", "17", "17#r1", "%2F", "a%2Fb", "a/b", "#r1",
			strings.Repeat("é", 22), strings.Repeat("a", 128), strings.Repeat("a", 129), strings.Repeat("/", 128),
		}),
	)
}

func requireIdentifier(t *rapid.T, id string) {
	if len(id) < 1 || len(id) > 128 {
		t.Fatalf("identifier of %d characters: %s", len(id), id)
	}
	if i := strings.IndexFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }); i >= 0 {
		t.Fatalf("identifier with a character that AWS refuses: %q", id)
	}
}

// TestTablesHaveTheirOwnGroups: the forms of a single table stay as they are.
func TestTablesHaveTheirOwnGroups(t *testing.T) {
	t.Parallel()
	const id = "0198a6f0-1c5e-7a62-9d5c-3c3a5d2f8e11"
	seen := map[string]string{}
	for _, table := range []*outbox.Source{
		nil,
		{Schema: "a", Name: "b", Table: "a.b"},
		{Schema: "a/b", Name: "c", Table: `"a/b".c`},
		{Schema: "a", Name: "b/c", Table: `a."b/c"`},
	} {
		e := &outbox.Envelope{ID: id, AggregateType: "order", AggregateID: "1", Source: table}
		for _, text := range []string{route.Group(e, nil), route.DeduplicationID(e, "public", "outbox_events")} {
			if other, twice := seen[text]; twice {
				t.Errorf("%s is that of %s and of %v", text, other, table)
			}
			seen[text] = fmt.Sprint(table)
		}
	}
	for _, want := range []string{"order/1", id, "a.b/order/1", "a.b/" + id} {
		if _, found := seen[want]; !found {
			t.Errorf("%s is missing from %v", want, seen)
		}
	}
}
