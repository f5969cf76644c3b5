package e2e_test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// hostile are session parameters with which an unprotected relay would fail or deliver other texts.
var hostile = map[string]string{
	"client_encoding":                     "LATIN1",
	"default_transaction_read_only":       "on",
	"default_transaction_isolation":       "serializable",
	"default_transaction_deferrable":      "on",
	"row_security":                        "on",
	"search_path":                         "nowhere",
	"quote_all_identifiers":               "on",
	"standard_conforming_strings":         "off",
	"DateStyle":                           "SQL, DMY",
	"IntervalStyle":                       "sql_standard",
	"TimeZone":                            "Asia/Kathmandu",
	"bytea_output":                        "escape",
	"extra_float_digits":                  "-15",
	"xmloption":                           "document",
	"statement_timeout":                   "1ms",
	"lock_timeout":                        "1ms",
	"idle_in_transaction_session_timeout": "1ms",
	"idle_session_timeout":                "100ms",
	"synchronous_commit":                  "off",
	"exit_on_error":                       "on",
}

// hostileOf returns the hostile parameters that this major version has.
func hostileOf(version int) map[string]string {
	all := maps.Clone(hostile)
	if version >= 17 {
		all["transaction_timeout"] = "2ms"
	}
	return all
}

// set returns a statement for each hostile parameter: before, name = 'value'.
func (h session) set(before string) (statements []string) {
	for _, name := range slices.Sorted(maps.Keys(h.parameters)) {
		statements = append(statements, fmt.Sprintf("%s %s = '%s'", before, name, h.parameters[name]))
	}
	return statements
}

// unhurried is a time limit that ends no login, even if the machine stalls. It ends an idle session
// of an unprotected relay.
const unhurried = "6s"

// atLogin returns statements for an event trigger that sets each hostile parameter in the relay's
// sessions. A time limit lets the login itself end.
func (h session) atLogin() []string {
	var body strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h.parameters)) {
		value := h.parameters[name]
		if strings.HasSuffix(name, "_timeout") {
			value = unhurried
		}
		fmt.Fprintf(&body, "PERFORM set_config('%s', '%s', false); ", name, value)
	}
	return []string{
		`CREATE FUNCTION hostile() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
			IF session_user = 'outbox_relay' THEN ` + body.String() + `END IF; END $$`,
		`CREATE EVENT TRIGGER hostile ON login EXECUTE FUNCTION hostile()`,
	}
}

// options returns the hostile parameters in the syntax of PGOPTIONS.
func (h session) options() string {
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h.parameters)) {
		fmt.Fprintf(&all, "-c %s=%s ", name, strings.ReplaceAll(h.parameters[name], " ", `\ `))
	}
	return all.String()
}

// session is one source of session parameters outside the relay.
type session struct {
	name       string
	version    int
	parameters map[string]string
	statements []string // run by a superuser
	env        []string
	query      url.Values // of DATABASE_URL
}

func sessions() []session {
	var all []session
	for _, version := range []int{15, 18} {
		h := session{version: version, parameters: hostileOf(version)}
		role, database, server, environment, connection := h, h, h, h, h
		role.name, role.statements = "role", h.set("ALTER ROLE outbox_relay SET")
		database.name, database.statements = "database", h.set("ALTER DATABASE relay SET")
		server.name, server.parameters = "server", maps.Clone(h.parameters)
		if version >= 17 { // it holds for the transaction in which a session starts, before any override
			server.parameters["transaction_timeout"] = unhurried
		}
		server.statements = append(server.set("ALTER SYSTEM SET"), "SELECT pg_reload_conf()")
		environment.name = "environment"
		environment.env = []string{
			"PGOPTIONS=" + h.options(), "PGCLIENTENCODING=LATIN1", "PGTZ=Asia/Kathmandu",
			"PGDATESTYLE=SQL, DMY",
		}
		connection.name, connection.query = "connection string", url.Values{
			"CLIENT_ENCODING": {"LATIN1"}, "timezone": {"Asia/Kathmandu"}, "options": {h.options()},
			"default_transaction_read_only": {"on"}, "Row_Security": {"on"}, "synchronous_commit": {"off"},
		}
		all = append(all, role, database, server, environment, connection)
		if version >= 17 {
			trigger := h
			trigger.name, trigger.statements = "login trigger", h.atLogin()
			all = append(all, trigger)
		}
		for _, mode := range map[int][]string{15: {"simple_protocol"}, 18: {"exec", "cache_statement"}}[version] {
			driver := h
			driver.name, driver.query = "driver "+mode, url.Values{
				"default_query_exec_mode": {mode}, "statement_cache_capacity": {"0"},
				"description_cache_capacity": {"0"},
				"min_protocol_version":       {"3.2"}, "pool_max_conns": {"1"}, "pool_max_conn_lifetime": {"1ms"},
				"pool_health_check_period": {"10ms"},
			}
			all = append(all, driver)
		}
	}
	return all
}

// safely returns the URL of a role whose sessions override the hostile parameters for the test
// itself.
func safely(server *pgtest.Server, role string, version int) string {
	safe := url.Values{
		"client_encoding": {"UTF8"}, "default_transaction_read_only": {"off"}, "search_path": {"public"},
		"statement_timeout": {"0"},
		"lock_timeout":      {"0"}, "idle_session_timeout": {"0"}, "idle_in_transaction_session_timeout": {"0"},
		"standard_conforming_strings": {"on"}, "default_transaction_isolation": {"read committed"},
		"exit_on_error": {"off"},
	}
	if version >= 17 {
		safe.Set("transaction_timeout", "0")
	}
	return server.URL("relay", role) + encode(safe)
}

// encode returns the query as the rest of a URL. Postgres does not read + as a space there.
func encode(query url.Values) string { return "&" + strings.ReplaceAll(query.Encode(), "+", "%20") }

// Whatever the source of the parameters, an event takes every way through the relay with its bytes
// unchanged.
func TestExternalSessionSettingsChangeNothing(t *testing.T) {
	t.Parallel()
	for _, s := range sessions() {
		t.Run(fmt.Sprintf("%s %d", s.name, s.version), func(t *testing.T) {
			t.Parallel()
			server := newServerOf(t, pgtest.Options{Version: s.version})
			w := newTestEnvOn(t, safely(server, pgtest.Superuser, s.version), "orders.fifo")
			w.url = server.URL("relay", pgtest.Superuser)
			if output, err := w.command(nil, "migrate"); err != nil {
				t.Fatalf("relay migrate: %v: %s", err, output)
			}
			for _, statement := range s.statements {
				w.exec(statement)
			}
			w.url = server.URL("relay", migrations.Relay) + encode(s.query)
			w.checkEveryWay(append(s.env, "RELAY_RETENTION=24h"))
		})
	}
}

// checkEveryWay lets the relay stream, park, redrive, recover, audit, replay and remove events.
func (w *testEnv) checkEveryWay(env []string) {
	t := w.t
	body := func(n int) string { return fmt.Sprintf(`{"n":%d,"text":"ä € 株 \\ '"}`, n) }
	if output, err := w.command(env, "check"); err != nil {
		t.Fatalf("relay check: %v: %s", err, output)
	}
	p := w.start(env...)
	p.awaitLog("event=streaming")
	w.exec(insertOld, body(1))
	w.awaitBody(body(1))

	refused := w.refuseBody(body(2))
	w.commit(event(t, "ä€株", body(2)))
	w.eventually("the event is parked", func() bool { return w.deadLetters() == "parked" })
	kept := w.query(`SELECT concat_ws(' ', event->>'body', message_group) FROM outbox_dead_letters`)
	if want := body(2) + " "; !strings.HasPrefix(kept, want) {
		t.Errorf("the dead letter keeps %s, want %s", kept, want)
	}
	refused.Clear()
	if output, err := w.command(env, "dead-letters", "redrive", "--all"); err != nil {
		t.Fatalf("redrive: %v: %s", err, output)
	}
	w.awaitBody(body(2))
	w.eventually("the old row is removed", func() bool { return w.rows() == "1" })

	p.stop()
	w.dropSlot()
	w.commit(event(t, "ä€株", body(3))) // only the table has the event
	p = w.start(env...)
	w.awaitBody(body(3))
	w.awaitDelivered()
	if output, err := w.command(env, "replay", "--since", "2020-01-01T00:00:00Z", "--yes"); err != nil {
		t.Fatalf("relay replay: %v: %s", err, output)
	}
	w.eventually("the event arrived again", func() bool { return strings.Contains(w.replayedBodies(), body(3)) })
	w.awaitStatus(0, "streaming", env...)
	if output, err := w.command(env, "recover"); err != nil {
		t.Errorf("relay recover: %v: %s", err, output)
	}
	p.stop()
	groups := map[string]bool{}
	for _, r := range w.broker.Received(w.queue.ARN) {
		if strings.Contains(r.Body, `"n":2`) || strings.Contains(r.Body, `"n":3`) {
			groups[r.GroupID] = true
		}
	}
	if len(groups) != 1 {
		t.Errorf("the events of one aggregate have the groups %v", groups)
	}
	for line := range strings.Lines(p.log.String()) {
		failed := strings.Contains(line, "event=session_ended") || strings.Contains(line, "trying again")
		if failed && !strings.Contains(line, "did not answer within") { // of a server that stalls
			t.Errorf("the relay logs %s", line)
		}
	}
}

// A recovery that keeps its slot cancels the copy of its walsender, and continues on that
// connection. Its privileges are those of the role that connects.
func TestARecoverySurvivesSettingsOfItsRole(t *testing.T) {
	t.Parallel()
	w, _ := newRolesEnv(t, "orders.fifo", newest)
	w.exec(`CREATE ROLE app; GRANT app TO outbox_relay; ALTER ROLE outbox_relay SET role = app;
		ALTER ROLE outbox_relay SET exit_on_error = on`)
	w.startStreaming().stop()
	w.commit(event(t, "1", `{"n":0}`))
	w.commit(event(t, "1", `{"n":1}`))
	w.recover("--yes")
	relay := w.start()
	w.awaitEach(2)
	w.awaitRecovered()
	if strings.Contains(relay.log.String(), "event=session_ended") {
		t.Error("the session ended")
	}
}

// The tables may be outside of public, and a second set of them may exist.
func TestRelayTablesAreFoundUnderAnySearchPath(t *testing.T) {
	t.Parallel()
	server := newServerOf(t, pgtest.Options{})
	w := newTestEnvOn(t, server.URL("relay", "relay"), "orders")
	w.exec(`CREATE SCHEMA "Own"`)
	for _, table := range []string{
		"relay_checkpoints", "outbox_dead_letters", "outbox_replays",
		"outbox_schema_version",
	} {
		w.exec(`ALTER TABLE ` + table + ` SET SCHEMA "Own"`)
	}
	if output, err := w.command(nil, "migrate"); err != nil || !strings.Contains(output, "already") {
		t.Errorf("relay migrate: %v: %s", err, output)
	}
	w.startStreaming()
	w.commit(event(t, "1", `{"n":1}`))
	w.awaitBody(`{"n":1}`)

	w.exec(`CREATE TABLE public.relay_checkpoints ()`)
	w.exec(`ALTER ROLE relay SET search_path = nowhere`)
	output, err := w.command(nil, "check")
	if err == nil || !strings.Contains(output, `"Own", public`) {
		t.Errorf("relay check with two candidates: %v: %s", err, output)
	}
	w.url += `&search_path=%22Own%22`
	if output, err := w.command(nil, "check"); err != nil {
		t.Errorf("relay check with a choice: %v: %s", err, output)
	}
}
