package slot_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// TestSlotInCreationIsUsable: the server shows a slot before it shows the plugin.
func TestSlotInCreationIsUsable(t *testing.T) {
	t.Parallel()
	state := slot.State{Exists: true, Active: true, Database: "shop", CurrentDatabase: "shop"}
	if err := state.CheckUsable("outbox_relay"); err != nil {
		t.Errorf("while it is created: %v", err)
	}
	state.Active = false
	if err := state.CheckUsable("outbox_relay"); err == nil {
		t.Error("a slot without a plugin that no session holds is accepted")
	}
}

func TestPhysicalSlotIsRefused(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgtest.NewDatabase(t))
	name := "physical_" + strings.TrimPrefix(pool.Config().ConnConfig.Database, "test_")
	if _, err := pool.Exec(t.Context(), `SELECT pg_create_physical_replication_slot($1)`, name); err != nil {
		t.Fatal(err)
	}
	//nolint:errcheck // it belongs to no database
	defer pool.Exec(t.Context(), `SELECT pg_drop_replication_slot($1)`, name)
	state, err := slot.LookUp(t.Context(), pool, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := state.CheckUsable(name); err == nil || !strings.Contains(err.Error(), "physical slot") {
		t.Errorf("a physical slot: %v", err)
	}
}

// TestSlotWithTwoPhaseIsRefused: a prepared transaction would end every stream of it.
func TestSlotWithTwoPhaseIsRefused(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgtest.NewDatabase(t))
	name := "two_phase_" + strings.TrimPrefix(pool.Config().ConnConfig.Database, "test_")
	if _, err := pool.Exec(t.Context(), `
		SELECT pg_create_logical_replication_slot($1, 'pgoutput', twophase => true)`, name); err != nil {
		t.Fatal(err)
	}
	state, err := slot.LookUp(t.Context(), pool, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := state.CheckUsable(name); err == nil || !strings.Contains(err.Error(), "two_phase") {
		t.Errorf("a slot with two_phase: %v", err)
	}
	if err := slot.Drop(t.Context(), pool, name); err != nil {
		t.Error(err)
	}
}

// TestBlockersAreNamedToEveryRole: a role without pg_read_all_stats sees neither state nor age of
// other transactions.
func TestBlockersAreNamedToEveryRole(t *testing.T) {
	t.Parallel()
	url := pgtest.NewDatabase(t)
	admin, err := pgx.Connect(t.Context(), pgtest.SuperuserURL(t, url)+"&application_name=psql")
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	if _, err := admin.Exec(t.Context(), `BEGIN; SELECT pg_current_xact_id()`); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ url, says string }{
		"role":      {url, "GRANT pg_read_all_stats TO " + pgtest.Role},
		"superuser": {pgtest.SuperuserURL(t, url), "in a transaction since 2"},
	} {
		blockers, err := slot.Blockers(t.Context(), newPool(t, c.url))
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(blockers, "; ")
		if !strings.Contains(all, fmt.Sprintf("process %d of", admin.PgConn().PID())) ||
			!strings.Contains(all, "application psql") || !strings.Contains(all, c.says) {
			t.Errorf("%s: %s", name, all)
		}
		if strings.Contains(all, ", ,") || strings.Contains(all, "since ,") || strings.HasSuffix(all, ", ") {
			t.Errorf("%s: something is missing in %s", name, all)
		}
	}
}

func newPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}
