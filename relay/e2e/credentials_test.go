package e2e_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

const secretARN = "arn:aws:secretsmanager:us-east-1:000000000000:secret:relay"

// localhost returns the URL of the server by the name in its certificate, without a TLS setting.
func localhost(server *pgtest.Server, role string) string {
	return fmt.Sprintf("postgres://%s@localhost:%d/relay", role, server.Port())
}

func TestRelaySurvivesPasswordRotation(t *testing.T) {
	t.Parallel()
	w, server := newRolesEnv(t, "orders.fifo", 0)
	authority := pgtest.NewAuthority(t)
	certificate, key := authority.Certificate("localhost", time.Now().Add(time.Hour))
	w.must(server.ServeTLS(t.Context(), certificate, key))
	w.must(server.Authenticate(t.Context(), "hostssl all outbox_relay 127.0.0.1/32 scram-sha-256"))
	rotate := func(password string) {
		w.exec(fmt.Sprintf(`ALTER ROLE outbox_relay PASSWORD '%s'`, password))
		w.broker.PutSecret(secretARN, fmt.Sprintf(`{"username":"outbox_relay","password":%q}`, password))
	}
	rotate("first")
	env := []string{
		"DATABASE_URL=" + localhost(server, "nobody"), "DATABASE_SECRET_ARN=" + secretARN,
		"PGSSLROOTCERT=" + authority.File(),
	}
	w.startStreaming(env...)
	const connections = `SELECT count(*)::text FROM pg_stat_activity WHERE usename = 'outbox_relay'`
	if plain := w.query(connections + ` AND NOT (SELECT ssl FROM pg_stat_ssl s
		WHERE s.pid = pg_stat_activity.pid)`); plain != "0" {
		t.Errorf("%s connections without TLS", plain)
	}
	for round := range 3 {
		w.commit(event(t, "1", fmt.Sprintf(`{"n":%d}`, 2*round)))
		rotate(fmt.Sprintf("rotated %d", round))
		w.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'outbox_relay'`)
		w.commit(event(t, "1", fmt.Sprintf(`{"n":%d}`, 2*round+1)))
		w.awaitAll(2*round + 2)
	}
	var first []string // the first delivery of each event
	for _, r := range w.broker.Received(w.queue.ARN) {
		if !slices.Contains(first, r.Body) {
			first = append(first, r.Body)
		}
	}
	if got := strings.Join(first, ""); got != `{"n":0}{"n":1}{"n":2}{"n":3}{"n":4}{"n":5}` {
		t.Errorf("received %s", got)
	}
	output, err := w.command([]string{env[0], env[1]}, "check") // without the certificate authority
	if err == nil || !strings.Contains(output, "PGSSLROOTCERT") {
		t.Errorf("check with an unknown authority: %v: %s", err, output)
	}
	rotate("one")
	w.exec(`ALTER ROLE outbox_relay PASSWORD 'another'`)
	if output, err := w.command(env, "check"); err == nil || !strings.Contains(output, "DATABASE_SECRET_ARN") {
		t.Errorf("check with a wrong password: %v: %s", err, output)
	}
}

func TestEveryConnectionHasAFreshIAMToken(t *testing.T) {
	t.Parallel()
	w, server := newRolesEnv(t, "orders.fifo", 0)
	authority := pgtest.NewAuthority(t)
	front := newTokenFront(t, server, authority)
	front.begin()
	w.startStreaming("DATABASE_URL="+fmt.Sprintf("postgres://outbox_relay@localhost:%d/relay", front.port),
		"DATABASE_AUTH=iam",
		"PGSSLROOTCERT="+authority.File())
	for round := range 2 {
		seen := front.begin()
		if len(seen) == 0 || !slices.ContainsFunc(seen, login.replicates) ||
			!slices.ContainsFunc(seen, login.controls) {
			t.Fatalf("round %d: logins %v, want some of both kinds", round, seen)
		}
		for _, l := range seen {
			l.check(t, front.port)
		}
		began := front.nextSecond()
		front.nextSecond() // a login may arrive a moment after its token was made
		w.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'outbox_relay'`)
		w.commit(event(t, "1", fmt.Sprintf(`{"n":%d}`, round)))
		w.awaitAll(round + 1)
		for _, l := range front.seen() {
			if signed := l.signedAt(t); signed.Before(began) {
				t.Errorf("a connection opened after %s has a token of %s", began, signed)
			}
		}
	}
}

// login holds the credentials that a client sent.
type login struct {
	parameters map[string]string
	password   string
}

func (l login) replicates() bool { return l.parameters["replication"] == "database" }

func (l login) controls() bool { return l.parameters["replication"] == "" }

func (l login) token(t *testing.T) *url.URL {
	t.Helper()
	token, err := url.Parse("https://" + l.password)
	if err != nil {
		t.Fatalf("token %q: %v", l.password, err)
	}
	return token
}

func (l login) signedAt(t *testing.T) time.Time {
	t.Helper()
	signed, err := time.Parse("20060102T150405Z", l.token(t).Query().Get("X-Amz-Date"))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// check fails the test unless the token is valid for this role, host, port and region.
func (l login) check(t *testing.T, port int) {
	t.Helper()
	token := l.token(t)
	query := token.Query()
	if l.parameters["user"] != migrations.Relay || query.Get("DBUser") != migrations.Relay ||
		query.Get("Action") != "connect" ||
		token.Host != fmt.Sprintf("localhost:%d", port) ||
		!strings.HasSuffix(query.Get("X-Amz-Credential"), "/us-east-1/rds-db/aws4_request") {
		t.Errorf("login of %s with the token %s", l.parameters["user"], token)
	}
}
