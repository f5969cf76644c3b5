package deferral

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Names of tables and types of aggregates may have any text except NUL.
func TestAStoredPlaceIsReadAsItWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching("[a\"./*,\x1f]{1,4}")
		one := outboxtable.Table{Schema: text.Draw(t, "schema"), Name: text.Draw(t, "name")}
		e := outbox.Envelope{AggregateType: text.Draw(t, "type"), AggregateID: "1"}
		key := one.String()
		if rapid.Bool().Draw(t, "of several") {
			other := outboxtable.Pattern{Schema: []string{text.Draw(t, "other schema")}, Name: "b"}
			several := outboxtable.Table{Several: &outboxtable.Several{Patterns: []outboxtable.Pattern{
				{Schema: []string{one.Schema}, Name: one.Name}, other,
			}}}
			key, e.Source = several.Key(), &outbox.Source{Table: one.String()}
		}
		want := placeOf("queue", &e)
		got := want
		if got.Table, got.AggregateType = splitType(key, want.storedType()); got != want {
			t.Fatalf("%+v is read as %+v", want, got)
		}
		if group := route.Group(&e, nil); got.key().group != group {
			t.Fatalf("%+v has the group %q, want %q", got, got.key().group, group)
		}
	})
}
