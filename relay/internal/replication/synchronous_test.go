package replication_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
)

// TestStandbyNamesMatchAsInPostgres: case is ignored, a star matches every name, and keywords are
// not names.
func TestStandbyNamesMatchAsInPostgres(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 63)
	for _, c := range []struct {
		setting, slot string
		matches       bool
	}{
		{"", "orders", false},
		{"*", "orders", true},
		{`"*"`, "orders", true},
		{"standby_1, standby_2", "orders", false},
		{"standby_1,*", "orders", true},
		{`"outbox-relay orders"`, "orders", true},
		{`"OUTBOX-Relay Orders"`, "orders", true},
		{`"outbox-relay ""orders"`, "orders", false},
		{`"outbox-relay orders2"`, "orders", false},
		{`"outbox-relay " , orders`, "orders", false},
		{`FIRST 1 (standby_1)`, "orders", false},
		{`first 2(standby_1,"outbox-relay orders" )`, "orders", true},
		{"ANY 1\n(\n*\n)", "orders", true},
		{`2 (a, b, "outbox-relay orders")`, "orders", true},
		{`ANY 1 ("x(", "outbox-relay orders")`, "orders", true},
		{`"(", standby`, "orders", false},
		{`"outbox-relay ` + long + `"`, long, false},
		{`"outbox-relay ` + long[:50] + `"`, long, true},
	} {
		err := replication.CheckSynchronous(c.setting, c.slot)
		var synchronous *replication.SynchronousError
		if errors.As(err, &synchronous) != c.matches {
			t.Errorf("%s with slot %s: %v, want a match: %v", c.setting, c.slot, err, c.matches)
		}
	}
}
