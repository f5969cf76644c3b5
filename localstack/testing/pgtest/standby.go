package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// StandbySlot is the physical replication slot of the standby from [NewStandby].
const StandbySlot = "standby"

// NewStandby starts a hot standby of a running cluster of version 17 or newer, and stops it when
// the test ends. It copies the primary, which stops for a moment. The standby synchronises failover
// slots unless settings say otherwise.
// https://www.postgresql.org/docs/current/logicaldecoding-explanation.html#LOGICALDECODING-REPLICATION-SLOTS-SYNCHRONIZATION
func NewStandby(t testing.TB, primary *Server, settings map[string]string) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), setupTimeout)
	defer cancel()
	dir := Dir(t)
	if err := errors.Join(primary.halt(Fast), primary.copyTo(ctx, dir), primary.start(ctx)); err != nil {
		t.Fatalf("pgtest: copy the primary: %v", err)
	}
	admin := primary.URL("postgres", Superuser)
	if err := execute(ctx, admin, "SELECT pg_create_physical_replication_slot('"+StandbySlot+"')"); err != nil {
		t.Fatalf("pgtest: make the slot of the standby: %v", err)
	}
	all := map[string]string{
		"primary_conninfo": fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=postgres application_name=%s "+
			"sslmode=disable",
			primary.port, Superuser, StandbySlot),
		"primary_slot_name":      StandbySlot,
		"hot_standby_feedback":   "on",
		"sync_replication_slots": "on",
	}
	maps.Copy(all, settings)
	return NewServer(t, Options{Dir: dir, BinDir: primary.binaries.dir, Settings: all})
}

// copyTo copies the data directory of a stopped cluster to the folder of a standby.
func (s *Server) copyTo(ctx context.Context, dir string) error {
	dir, err := serverDir(dir, "")
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	if err := copyTree(ctx, s.dataDir(), data); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(data, "standby.signal"), nil, 0o666)
}
