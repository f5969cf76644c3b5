package relay_test

import (
	"bufio"
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/outbox-relay/outbox-relay/"

// order has the packages of the relay from the top to the bottom. A package imports only packages
// below it.
var order = []string{
	"cmd/relay",
	"relay", // sessions, one after the other, and their parts
	"preflight", "status", "history", "page", "watch", "telemetry",
	"leadership", "checkpointer", "audit", "backlog", "members", "replay", "recovery",
	"tablereader", "ingest", "retention", "deadletter", "health", "metrics", "deferral", "pause",
	"delivery", "pacer", "checkpoint", "route",
	"format", "claimcheck",
	"sink/sns", "sink/sqs", "sink/eventbridge", "sink/transport", "sink", "sink/awsjson",
	"pgoutput", "emitted",
	"outboxtable", "pgsnapshot", "control", "operator", "replication", "slot", "task", "emf", "span", "rebinding",
	"largemessage",
	"compare",
	"inbox/awss3", "inbox/awssdk", "inbox/awslambda", "inbox", "inbox/migrations", // for consumers
	"outbox", "outbox/migrations", "postgres",
}

// ofTests are tests, and packages that only tests import.
var ofTests = []string{"sink/sinktest", "outboxtest", "docs", "e2e"}

// imports returns the imports of each package of this module, without those of its tests.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	list := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	list.Dir = "../../.."
	output, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for lines := bufio.NewScanner(bytes.NewReader(output)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		all[strings.TrimPrefix(words[0], module)] = words[1:]
	}
	return all
}

// packageOf returns the name that order uses for a package of the relay.
func packageOf(path string) (name string, ok bool) {
	path, ok = strings.CutPrefix(strings.TrimPrefix(path, module), "relay/")
	return strings.TrimPrefix(path, "internal/"), ok
}

func TestImportsPointDownwards(t *testing.T) {
	t.Parallel()
	for path, imported := range imports(t) {
		from, ok := packageOf(path)
		if !ok || slices.Contains(ofTests, from) {
			continue
		}
		place := slices.Index(order, from)
		if place < 0 {
			t.Errorf("%s is missing from the order of packages: add it above those that it imports", path)
			continue
		}
		for _, i := range imported {
			if to, ok := packageOf(i); ok && slices.Index(order, to) <= place {
				t.Errorf("%s imports %s, which is not below it", path, i)
			}
		}
	}
}

func TestOnlyTheirOwnersUseNetworkPackages(t *testing.T) {
	t.Parallel()
	owners := map[string][]string{
		"github.com/aws/aws-sdk-go-v2/service/sns":                 {"relay/internal/sink/sns"},
		"github.com/aws/aws-sdk-go-v2/service/sns/types":           {"relay/internal/sink/sns"},
		"github.com/aws/aws-sdk-go-v2/service/sqs":                 {"relay/internal/sink/sqs"},
		"github.com/aws/aws-sdk-go-v2/service/sqs/schemas":         {"relay/internal/sink/sqs"},
		"github.com/aws/aws-sdk-go-v2/service/sqs/types":           {"relay/internal/sink/sqs", "relay/inbox/awssdk"},
		"github.com/aws/aws-sdk-go-v2/service/eventbridge":         {"relay/internal/sink/eventbridge"},
		"github.com/aws/aws-sdk-go-v2/service/eventbridge/schemas": {"relay/internal/sink/eventbridge"},
		"github.com/aws/aws-sdk-go-v2/service/eventbridge/types":   {"relay/internal/sink/eventbridge"},
		"github.com/aws/aws-sdk-go-v2/service/s3": {
			"relay/internal/claimcheck", "relay/inbox/awss3", "functions/internal/largeevents",
		},
		"github.com/aws/aws-sdk-go-v2/service/secretsmanager": {"relay/postgres"},
		"github.com/aws/aws-sdk-go-v2/feature/rds/auth":       {"relay/postgres"},
		"github.com/aws/aws-sdk-go-v2/aws/signer/v4":          {"relay/internal/sink/transport"},
		"github.com/jackc/pgx/v5/pgproto3": {
			"relay/internal/replication", "relay/internal/control",
		},
		module + "localstack/testing/fakeaws":        nil,
		"github.com/fergusstrange/embedded-postgres": nil,
	}
	pure := []string{"relay/internal/pgoutput", "relay/internal/emitted", "relay/internal/route"}
	io := []string{"net", "net/http", "os", "context", "github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/pgxpool"}
	for path, imported := range imports(t) {
		if strings.HasPrefix(path, "localstack") || strings.HasPrefix(path, "scripts/") ||
			path == "relay/internal/sink/sinktest" || path == "relay/internal/outboxtest" {
			continue
		}
		for _, i := range imported {
			allowed, owned := owners[i]
			if owned && !slices.Contains(allowed, path) || strings.HasPrefix(i, module+"localstack") {
				t.Errorf("%s imports %s", path, i)
			}
			if slices.Contains(pure, path) && slices.Contains(io, i) {
				t.Errorf("%s does no I/O and imports %s", path, i)
			}
		}
	}
}

func TestFunctionsImportOnlyPublicPackages(t *testing.T) {
	t.Parallel()
	public := []string{
		"outbox", "outbox/migrations", "inbox", "inbox/awslambda", "inbox/awss3", "inbox/migrations", "postgres",
	}
	for path, imported := range imports(t) {
		if !strings.HasPrefix(path, "functions/") {
			continue
		}
		for _, i := range imported {
			if r, ok := packageOf(i); ok && !slices.Contains(public, r) {
				t.Errorf("%s imports %s", path, i)
			}
		}
	}
}
