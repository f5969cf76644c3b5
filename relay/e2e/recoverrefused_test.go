package e2e_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

func TestRecoverNamesAMissingPrivilege(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	w.restore(3, "2026-01-01T00:00:00Z")
	admin, err := pgx.Connect(t.Context(), pgtest.SuperuserURL(t, w.url))
	w.must(err)
	defer admin.Close(t.Context())
	for _, sql := range []string{
		`ALTER TABLE outbox_events OWNER TO postgres`,
		`GRANT SELECT ON outbox_events TO ` + pgtest.Role,
	} {
		_, err := admin.Exec(t.Context(), sql)
		w.must(err)
	}
	output, err := w.command(nil, "recover", "--since=2026-01-01T00:00:00Z", "--yes")
	if err == nil || !strings.Contains(output,
		`GRANT UPDATE ("xid") ON "public"."outbox_events" TO "`+pgtest.Role+`"`) {
		t.Errorf("%v: %s", err, output)
	}
	if w.row() != "" {
		t.Error("the recovery is marked although it would skip its rows")
	}
	_, err = admin.Exec(t.Context(), `GRANT UPDATE (xid) ON outbox_events TO `+pgtest.Role)
	w.must(err)
	w.recover("--since=2026-01-01T00:00:00Z", "--yes")
	w.startStreaming()
	w.awaitAll(3)
}

func TestRecoveryThatWouldSkipRowsIsRefused(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders")
	if output, err := w.command(nil, "recover", "--yes"); err == nil || !strings.Contains(output, "RELAY_START") {
		t.Errorf("without a checkpoint: %v: %s", err, output)
	}
	w.startStreaming().stop()
	w.exec(`CREATE TABLE other (LIKE outbox_events)`)
	before := w.row()
	for reason, args := range map[string][]string{
		"its horizon says":        {"--since=2026-01-01T00:00:00Z"},
		"in the future":           {"--since=2999-01-01T00:00:00Z"},
		"can't be used":           {"--since=2026-01-01T00:00:00Z", "--trust-horizon"},
		"nothing to trust":        {"--trust-horizon"},
		"RELAY_COLUMN_CREATED_AT": {"--since=2026-01-01T00:00:00Z", "--column-created-at="},
		"relays table":            {"--table=public.other"},
	} {
		output, err := w.command(nil, append([]string{"recover", "--yes"}, args...)...)
		if err == nil || !strings.Contains(output, reason) {
			t.Errorf("%v: %v: %s", args, err, output)
		}
	}
	if w.row() != before {
		t.Error("the checkpoint row was changed")
	}
}
