package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// revokeFromPublic revokes the functions of the server whose names begin with pg_, but none of a
// type or an operator, and none without which relay check has no connection.
const revokeFromPublic = `
	DO $$ DECLARE f regprocedure; BEGIN
		FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace
				AND p.prokind = 'f' AND p.proname ~ '^pg_' AND p.proname !~ '^pg_lsn|_(in|out|recv|send)$'
				AND p.proname NOT IN ('pg_backend_pid', 'pg_table_is_visible')
				AND NOT EXISTS (SELECT FROM pg_operator o WHERE o.oprcode = p.oid)
		LOOP EXECUTE 'REVOKE EXECUTE ON FUNCTION ' || f || ' FROM PUBLIC'; END LOOP;
	END $$`

// TestTheCheckedPrivilegesSuffice on a server that gives no role the use of any other function.
func TestTheCheckedPrivilegesSuffice(t *testing.T) {
	t.Parallel()
	w, _ := newRolesEnv(t, "orders.fifo", newest)
	w.exec(revokeFromPublic)
	output, err := w.command(nil, "check", "--json")
	var report struct {
		Findings []struct{ Code, Statement string }
	}
	if err == nil {
		t.Fatalf("relay check: %s", output)
	}
	if err := json.NewDecoder(strings.NewReader(output)).Decode(&report); err != nil { // relay's error follows
		t.Fatalf("relay check: %v: %s", err, output)
	}
	for _, f := range report.Findings {
		if f.Code == "privileges" {
			w.exec(f.Statement)
		}
	}
	w.checkEveryWay([]string{"RELAY_RETENTION=24h"})
}
