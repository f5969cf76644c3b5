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

// rooms says which rooms of the relay each of them may know: an event's way, from the top to the bottom.
var rooms = map[string][]string{
	"cmd/relay": {
		"", "outbox", "outbox/migrations", "preflight", "health", "backlog", "emf", "delivery", "deadletter", "members", "replay", "checkpoint", "recovery", "slot", "route",
		"pgoutput", "sink", "sink/transport", "status", "task", "postgres",
	},
	"": { // package relay
		"outbox", "replication", "pgoutput", "route", "delivery", "checkpoint", "slot", "recovery", "deadletter", "replay", "retention", "audit", "members",
		"outboxtable", "backlog", "health", "sink", "task", "postgres",
	},
	"preflight":         {"postgres", "delivery", "route", "slot", "pgoutput", "outboxtable", "replication", "sink", "sink/sns", "sink/sqs", "sink/transport"},
	"health":            {"checkpoint", "slot", "sink"},
	"deadletter":        {"delivery", "route", "slot", "sink", "task"},
	"replay":            {"recovery", "delivery", "route", "sink", "slot", "pgoutput", "task", "outbox", "postgres"},
	"status":            {"health", "delivery", "deadletter", "replay", "checkpoint", "members", "slot", "sink", "task"},
	"retention":         {"outboxtable", "slot", "pgoutput", "task"},
	"audit":             {"outboxtable", "pgoutput"},
	"backlog":           {"checkpoint", "members", "recovery", "slot", "pgoutput"},
	"members":           {"delivery", "recovery", "checkpoint", "outboxtable", "route", "slot", "pgoutput", "task", "outbox", "postgres"},
	"outboxtable":       {"pgoutput"},
	"recovery":          {"checkpoint", "slot", "pgoutput", "outboxtable", "outbox"},
	"delivery":          {"checkpoint", "pacer", "route", "sink"},
	"checkpoint":        {"slot"},
	"route":             {"sink", "outbox"},
	"pgoutput":          {"outbox"},
	"sink":              {"outbox"},
	"sink/sns":          {"sink", "sink/transport"},
	"sink/sqs":          {"sink", "sink/transport", "outbox"},
	"sink/transport":    {"sink"},
	"docs":              nil, // documents, and the tests that hold them true
	"emf":               nil,
	"pacer":             nil,
	"replication":       {"postgres"},
	"task":              nil,
	"slot":              nil,
	"outbox":            nil,
	"outbox/migrations": nil,
	"postgres":          nil,
}

// imports returns what each package of this module imports, its tests left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	list := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	list.Dir = ".."
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

// room returns the name in rooms of a package of the relay.
func room(path string) (name string, ok bool) {
	path = strings.TrimPrefix(path, module)
	if path == "relay" {
		return "", true
	}
	path, ok = strings.CutPrefix(path, "relay/")
	return strings.TrimPrefix(path, "internal/"), ok
}

func TestArrowsBetweenTheRoomsOfTheRelayPointOneWay(t *testing.T) {
	t.Parallel()
	for path, imported := range imports(t) {
		from, ok := room(path)
		if !ok || from == "sink/sinktest" || from == "outboxtest" {
			continue
		}
		allowed, known := rooms[from]
		if !known {
			t.Errorf("%s is no room that this test knows: say which rooms it may know", path)
		}
		for _, i := range imported {
			if to, ok := room(i); ok && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s", path, i)
			}
		}
	}
}

func TestOnlyTheirOwnRoomsTouchTheNetwork(t *testing.T) {
	t.Parallel()
	owners := map[string][]string{
		"github.com/aws/aws-sdk-go-v2/service/sns":            {"relay/internal/sink/sns"},
		"github.com/aws/aws-sdk-go-v2/service/sns/types":      {"relay/internal/sink/sns"},
		"github.com/aws/aws-sdk-go-v2/service/sqs":            {"relay/internal/sink/sqs"},
		"github.com/aws/aws-sdk-go-v2/service/sqs/schemas":    {"relay/internal/sink/sqs"},
		"github.com/aws/aws-sdk-go-v2/service/sqs/types":      {"relay/internal/sink/sqs"},
		"github.com/aws/aws-sdk-go-v2/service/secretsmanager": {"relay/postgres"},
		"github.com/aws/aws-sdk-go-v2/feature/rds/auth":       {"relay/postgres"},
		"github.com/aws/aws-sdk-go-v2/aws/signer/v4":          {"relay/internal/sink/transport"},
		"github.com/jackc/pgx/v5/pgproto3":                    {"relay/internal/replication"},
		module + "localstack/fakeaws":                         nil,
		"github.com/fergusstrange/embedded-postgres":          nil,
	}
	pure := []string{"relay/internal/pgoutput", "relay/internal/route"}
	for path, imported := range imports(t) {
		if strings.HasPrefix(path, "localstack") || strings.HasPrefix(path, "scripts/") || path == "relay/internal/sink/sinktest" || path == "relay/internal/outboxtest" {
			continue
		}
		for _, i := range imported {
			if allowed, owned := owners[i]; owned && !slices.Contains(allowed, path) || strings.HasPrefix(i, module+"localstack") {
				t.Errorf("%s imports %s", path, i)
			}
			if slices.Contains(pure, path) && slices.Contains([]string{"net", "net/http", "os", "context", "github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/pgxpool"}, i) {
				t.Errorf("%s does no I/O and imports %s", path, i)
			}
		}
	}
}

func TestFunctionsKnowOnlyTheOutboxContractAndHowToConnect(t *testing.T) {
	t.Parallel()
	for path, imported := range imports(t) {
		if !strings.HasPrefix(path, "functions/") {
			continue
		}
		for _, i := range imported {
			if r, ok := room(i); ok && !slices.Contains([]string{"outbox", "outbox/migrations", "postgres"}, r) {
				t.Errorf("%s imports %s", path, i)
			}
		}
	}
}
