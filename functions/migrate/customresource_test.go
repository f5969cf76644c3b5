package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/functions/internal/settings"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	outbox "github.com/outbox-relay/outbox-relay/relay/outbox/migrations"
)

// nowhere is a database that tests must not reach.
const nowhere = "postgres://unused@127.0.0.1:1/nothing"

// deployment plays CloudFormation: it sends an event of the custom resource and reads the answer.
type deployment struct {
	url     string // DATABASE_URL of the function
	timeout time.Duration
	failure error    // the error of a migration that fails whatever the database is
	left    []string // the statements about roles that the migration lacks the privileges for
}

func (d deployment) send(t *testing.T, kind cfn.RequestType) cfn.Response {
	t.Helper()
	var answer cfn.Response
	bucket := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		// S3's signature covers the absence of a content type.
		if err != nil || r.Method != http.MethodPut || r.Header.Get("Content-Type") != "" || len(body) > 4096 {
			http.Error(w, "not an answer", http.StatusForbidden)
			return
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Errorf("answer %s: %v", body, err)
		}
	}))
	defer bucket.Close()
	ctx, cancel := context.WithTimeout(t.Context(), d.timeout)
	defer cancel()
	if err := d.invoke(ctx, kind, bucket.URL); err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	if ctx.Err() != nil {
		t.Fatal("answered after the function's time was over")
	}
	if answer.RequestID != "request-1" || answer.StackID != "stack-1" || answer.LogicalResourceID != "Migration" ||
		answer.PhysicalResourceID != resourceID {
		t.Errorf("the answer is not to the event: %+v", answer)
	}
	return answer
}

func (d deployment) invoke(ctx context.Context, kind cfn.RequestType, responseURL string) error {
	_, err := handler(func(ctx context.Context) (versions, error) {
		if d.failure != nil || d.left != nil {
			return versions{Left: d.left}, d.failure
		}
		s, err := settings.Load(func(name string) string {
			return map[string]string{settings.DatabaseURL: d.url}[name]
		})
		if err != nil {
			return versions{}, err
		}
		return migrate(ctx, s)
	})(ctx, cfn.Event{
		RequestType: kind, RequestID: "request-1", StackID: "stack-1", LogicalResourceID: "Migration",
		ResponseURL: responseURL,
	})
	return err
}

func (d deployment) mustSucceed(t *testing.T, kind cfn.RequestType) cfn.Response {
	t.Helper()
	answer := d.send(t, kind)
	if answer.Status != cfn.StatusSuccess {
		t.Fatalf("%s: %s, %s", kind, answer.Status, answer.Reason)
	}
	return answer
}

func (d deployment) mustFail(t *testing.T, kind cfn.RequestType, reasons ...string) {
	t.Helper()
	answer := d.send(t, kind)
	if answer.Status != cfn.StatusFailed {
		t.Fatalf("%s: %s", kind, answer.Status)
	}
	for _, reason := range reasons {
		if !strings.Contains(answer.Reason, reason) {
			t.Errorf("the reason does not say %q: %s", reason, answer.Reason)
		}
	}
}

// newDatabase returns the URL of an empty database, with a role that may create roles.
func newDatabase(t *testing.T) string {
	t.Helper()
	return pgtest.SuperuserURL(t, pgtest.NewDatabase(t))
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, statement string, arguments ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement, arguments...); err != nil {
		t.Fatal(err)
	}
}

func TestDeploymentMigratesAndHearsTheVersions(t *testing.T) {
	t.Parallel()
	d := deployment{url: newDatabase(t), timeout: time.Minute}
	created := d.mustSucceed(t, cfn.RequestCreate)
	var tables int
	err := connect(t, d.url).QueryRow(t.Context(),
		`SELECT count(*) FROM pg_tables WHERE tablename IN ('orders', 'outbox_events', 'inbox_events', 'shipments')`).
		Scan(&tables)
	if err != nil || tables != 4 {
		t.Errorf("%d tables of 4: %v", tables, err)
	}
	for _, version := range []string{"OutboxVersion", "OrdersVersion", "InboxVersion", "ShipmentsVersion"} {
		if text, _ := created.Data[version].(string); text == "" || text == "0" {
			t.Errorf("%s is %q", version, created.Data[version])
		}
	}
	d.mustSucceed(t, cfn.RequestUpdate)
}

func TestFailedMigrationFailsTheDeploymentWithItsReason(t *testing.T) {
	t.Parallel()
	d := deployment{url: newDatabase(t), timeout: time.Minute}
	conn := connect(t, d.url)
	execute(t, conn, `CREATE TABLE orders ()`)
	d.mustFail(t, cfn.RequestCreate, "orders_schema_version", `relation "orders" already exists`)
	execute(t, conn, `DROP TABLE orders`)
	d.mustSucceed(t, cfn.RequestUpdate)
}

func TestDeploymentHearsWhatIsWrongWithTheFunction(t *testing.T) {
	t.Parallel()
	deployment{timeout: time.Minute}.mustFail(t, cfn.RequestCreate, settings.DatabaseURL)
	deployment{url: nowhere, timeout: answerMargin + 3*time.Second}.mustFail(t, cfn.RequestUpdate, "127.0.0.1")
}

func TestMigrationThatTakesTooLongIsAnsweredInTime(t *testing.T) {
	t.Parallel()
	d := deployment{url: newDatabase(t), timeout: time.Minute}
	d.mustSucceed(t, cfn.RequestCreate)
	d.timeout = answerMargin + time.Second
	conn := connect(t, d.url)
	execute(t, conn, `BEGIN`)
	execute(t, conn, `LOCK TABLE `+outbox.VersionTable)
	d.mustFail(t, cfn.RequestUpdate, outbox.VersionTable)
}

// Otherwise the database would refuse them on every request.
func TestDeploymentFailsIfAProgramCannotLogIn(t *testing.T) {
	t.Parallel()
	missing := "CREATE ROLE outbox_relay LOGIN"
	deployment{left: []string{missing}, timeout: time.Minute}.mustFail(t, cfn.RequestCreate, missing)
}

func TestRemovedDeploymentLeavesTheTables(t *testing.T) {
	t.Parallel()
	deployment{url: nowhere, timeout: time.Minute}.mustSucceed(t, cfn.RequestDelete)
}

// A rollback runs the migrations of the previous version after those of the failed version.
func TestRollbackLeavesANewerSchema(t *testing.T) {
	t.Parallel()
	d := deployment{url: newDatabase(t), timeout: time.Minute}
	d.mustSucceed(t, cfn.RequestCreate)
	execute(t, connect(t, d.url), `UPDATE `+outbox.VersionTable+` SET version = 999`)
	if answer := d.mustSucceed(t, cfn.RequestUpdate); answer.Data["OutboxVersion"] != "999" {
		t.Errorf("answered %v", answer.Data)
	}
}

// The error makes Lambda invoke the function again.
func TestAnswerThatNobodyTookIsAnError(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	defer closed.Close()
	if err := (deployment{url: nowhere}).invoke(t.Context(), cfn.RequestDelete, closed.URL); err == nil {
		t.Error("no error")
	}
}

func TestLongReasonIsCutToWhatCloudFormationReads(t *testing.T) {
	t.Parallel()
	failure := errors.New("first word " + strings.Repeat("ü", 5000))
	answer := deployment{failure: failure, timeout: time.Minute}.send(t, cfn.RequestCreate)
	if answer.Status != cfn.StatusFailed || !strings.HasPrefix(answer.Reason, "first word ") ||
		strings.ContainsRune(answer.Reason, utf8.RuneError) {
		t.Errorf("%s: %.100s", answer.Status, answer.Reason)
	}
}

func TestPlainInvocationIsAnsweredWithTheVersions(t *testing.T) {
	t.Parallel()
	want := versions{Outbox: change{From: 1, To: 2}}
	got, err := handler(func(context.Context) (versions, error) { return want, nil })(t.Context(), cfn.Event{})
	if diff := cmp.Diff(any(want), got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
