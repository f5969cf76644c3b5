package preflight

import "testing"

func TestReplicaDecodesFromVersion19On(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version int
		level   string
		decodes bool
	}{
		{15, "logical", true},
		{18, "logical", true},
		{19, "logical", true},
		{20, "logical", true},
		{15, "replica", false},
		{18, "replica", false},
		{19, "replica", true},
		{20, "replica", true},
		{18, "minimal", false},
		{19, "minimal", false},
	} {
		f := walLevelFinding(c.version, c.level)
		if decodes(c.version, c.level) != c.decodes || (f.Level == OK) != c.decodes {
			t.Errorf("Postgres %d with wal_level %s: %s, want decoding %v", c.version, c.level, f, c.decodes)
		}
	}
}
