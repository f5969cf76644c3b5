package members

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
)

// The session has read seqs of the relation before, and takes equal ones of the new relation for
// rows that the log has brought.
func TestAReplacedTableAwaitsTheNextSession(t *testing.T) {
	t.Parallel()
	several := outboxtable.Table{Several: &outboxtable.Several{}}
	several = several.WithTables([]outboxtable.Table{{Schema: "a", Name: "outbox", Relation: 1}})
	single := outboxtable.Table{Schema: "a", Name: "outbox", Relation: 1}
	for name, c := range map[string]struct {
		table outboxtable.Table
		of    Joined
		want  bool
	}{
		"the same relation":          {several, Joined{root: "a.outbox", rootRelation: 1}, false},
		"another relation":           {several, Joined{root: "a.outbox", rootRelation: 2}, true},
		"a table of another name":    {several, Joined{root: "b.outbox", rootRelation: 2}, false},
		"the only table: a recovery": {single, Joined{root: "a.outbox", rootRelation: 2}, false},
	} {
		j := &Joiner{Store: &Store{table: c.table}}
		if got := j.isReplacement(c.of); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
