// Package stack runs Postgres, the broker and the relay on one machine. It uses the first of three
// ways that works: containers, processes, or processes with a broker inside this program.
package stack

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
)

// Way is a way to run the stack.
type Way string

// The three ways, in order of preference.
const (
	Compose  Way = "compose"  // containers: postgres:17, LocalStack, the relay's own image
	Host     Way = "host"     // processes: Postgres from server binaries, LocalStack from its Python package
	Embedded Way = "embedded" // processes, and a fake of SNS, SQS, EventBridge and S3 in place of LocalStack
)

// LocalStackVersion is the last version that runs without an account.
const LocalStackVersion = "4.14.0"

// DatabaseName is the name of the database and of the role that owns it. The password of every role
// is its name.
const DatabaseName = "outbox"

// Ports are the ports of the parts on 127.0.0.1.
type Ports struct {
	Postgres int `json:"postgres"`
	Broker   int `json:"broker"`
	Relay    int `json:"relay"` // probes and metrics
}

// Settings are the settings of the stack.
type Settings struct {
	Root   string // of the checkout
	Dir    string // for everything that is built, downloaded or stored
	Insist Way    // empty: the first way that works
	Ports  Ports
	Out    io.Writer
	Began  time.Time // of the command, for the elapsed time; zero: now
}

// Stack is the stack of one checkout.
type Stack struct {
	Settings
	began    time.Time // zero: print no elapsed time
	silence  time.Duration
	progress progress
	http     *http.Client
}

// New returns the stack of these settings, which is not started.
func New(settings Settings) *Stack {
	if settings.Began.IsZero() {
		settings.Began = time.Now()
	}
	return &Stack{
		Settings: settings, began: settings.Began, silence: silence, http: &http.Client{Timeout: 2 * time.Second},
	}
}

func (s *Stack) path(parts ...string) string {
	return filepath.Join(append([]string{s.Dir}, parts...)...)
}

func (s *Stack) binary(name string) string { return s.path("bin", name) }

func (s *Stack) log(part string) string { return s.path("log", part+".log") }

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// DatabaseURL is the URL of the database for the owner of its tables.
func (p Ports) DatabaseURL() string { return p.DatabaseURLOf(DatabaseName) }

// DatabaseURLOf is the URL of the database for one of the roles of package migrations.
func (p Ports) DatabaseURLOf(role string) string {
	return databaseURL(role, local(p.Postgres))
}

// Endpoint is the URL of the broker.
func (p Ports) Endpoint() string { return "http://" + local(p.Broker) }

func databaseURL(role, address string) string {
	return fmt.Sprintf("postgres://%s:%[1]s@%s/%s?sslmode=disable", role, address, DatabaseName)
}

// relayEnvironment is the whole environment of the relay.
func relayEnvironment(databaseURL, endpoint, listen, destination string) map[string]string {
	return map[string]string{
		"DATABASE_URL":          databaseURL,
		"RELAY_DESTINATION":     destination,
		"RELAY_START":           "table",
		"RELAY_LISTEN":          listen,
		"AWS_ENDPOINT_URL":      endpoint,
		"AWS_REGION":            messaging.Region,
		"AWS_ACCESS_KEY_ID":     messaging.AccessKey,
		"AWS_SECRET_ACCESS_KEY": messaging.SecretKey,
	}
}

// Environment is the environment of other programs that use the stack: the functions, the scripts
// and the user's shell.
func (s State) Environment() [][2]string {
	return [][2]string{
		{"DATABASE_URL", s.Ports.DatabaseURL()},
		{"AWS_ENDPOINT_URL", s.Ports.Endpoint()},
		{"AWS_REGION", messaging.Region},
		{"AWS_DEFAULT_REGION", messaging.Region}, // boto3 reads no other variable
		{"AWS_ACCESS_KEY_ID", messaging.AccessKey},
		{"AWS_SECRET_ACCESS_KEY", messaging.SecretKey},
		{"QUEUE_URL", s.Outputs.QueueUrl},
		{"SHIPMENTS_QUEUE_URL", s.Outputs.Shipments.QueueUrl}, // of the function createshipment
		{"TOPIC_ARN", s.Outputs.TopicArn},
		{"RELAY_DESTINATION", s.Outputs.TopicArn}, // for the relay's own commands
		{"RELAY_LISTEN", local(s.Ports.Relay)},    // of the relay that runs, for healthcheck and check
	}
}
