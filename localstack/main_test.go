package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
)

// STACK_WAYS lists the ways to test, for example "compose host embedded". The first two need more
// than this repository. The first uses the container names of a developer's own stack.
func TestDemoDeliversEveryOrderAndCleansUp(t *testing.T) {
	t.Parallel()
	ways := os.Getenv("STACK_WAYS")
	if ways == "" {
		ways = "embedded"
	}
	program := filepath.Join(t.TempDir(), "localstack")
	if output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	for _, way := range strings.Fields(ways) {
		t.Run(way, func(t *testing.T) {
			s := stackUnderTest{
				t: t, program: program, way: way, dir: folder(t), postgres: freePort(t),
				broker: freePort(t), relay: freePort(t),
			}
			t.Cleanup(func() { s.run("down", "--data") })

			demo := s.run("demo", "--orders=7")
			if !strings.Contains(demo, "7 orders posted, 7 events received, each byte for byte as written") {
				t.Errorf("demo printed:\n%s", demo)
			}
			for _, want := range []string{"7 shipments written", "a second time: still one shipment for each order"} {
				if !strings.Contains(demo, want) {
					t.Errorf("demo does not say %q:\n%s", want, demo)
				}
			}
			if up := s.run("up"); !strings.Contains(up, "already up") {
				t.Errorf("the second up printed:\n%s", up)
			}
			for _, want := range []string{
				"7 events, 0 dead letters", "0 messages in the queue", " in the shipments queue", "streams",
			} {
				if status := s.run("status"); !strings.Contains(status, want) {
					t.Errorf("status does not say %q:\n%s", want, status)
				}
			}
			checkHealed(t, s)
			checkCommands(t, s)
			checkPassword(t, s)
			if log := s.run("logs"); !strings.Contains(log, "streaming") {
				t.Errorf("the relay's log is:\n%s", log)
			}

			s.run("down")
			if status := s.run("status"); !strings.Contains(status, "not up") {
				t.Errorf("after down, status says:\n%s", status)
			}
			for _, port := range []int{s.postgres, s.broker, s.relay} {
				if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
					conn.Close()
					t.Errorf("after down, a process listens on port %d", port)
				}
			}
			if again := s.run("demo", "--orders=1"); !strings.Contains(again, "1 order posted, 1 event received") {
				t.Errorf("demo on the data of the first time printed:\n%s", again)
			}
			if way == "embedded" {
				checkEndExplained(t, s)
			}
		})
	}
}

// checkHealed deletes the topic and the queue. status names them, up creates them again, and events
// flow.
func checkHealed(t *testing.T, s stackUnderTest) {
	t.Helper()
	config := messaging.Config("http://127.0.0.1:" + strconv.Itoa(s.broker))
	topics, queues := sns.NewFromConfig(config), sqs.NewFromConfig(config)
	listed, err := topics.ListTopics(t.Context(), &sns.ListTopicsInput{})
	if err != nil || len(listed.Topics) != 1 {
		t.Fatalf("topics: %+v, %v", listed, err)
	}
	topic := listed.Topics[0].TopicArn
	if _, err := topics.DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: topic}); err != nil {
		t.Fatal(err)
	}
	queue, err := queues.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("order-events.fifo")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := queues.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: queue.QueueUrl}); err != nil {
		t.Fatal(err)
	}
	status, err := s.try("status")
	if want := "topic " + *topic + " do not exist"; err == nil || !strings.Contains(status, want) {
		t.Errorf("without the topic, status does not say %q (%v):\n%s", want, err, status)
	}
	if demo := s.run("demo", "--orders=3"); !strings.Contains(demo, "3 orders posted, 3 events received") {
		t.Errorf("without the topic, demo printed:\n%s", demo)
	}
}

// checkCommands runs the commands of the documents with the environment of localstack-env.
func checkCommands(t *testing.T, s stackUnderTest) {
	t.Helper()
	environment := s.run("env")
	for _, command := range []string{"status", "check", "healthcheck", "dead-letters list"} {
		script := environment + filepath.Join(s.dir, "bin", "relay") + " " + command
		if output, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
			t.Errorf("relay %s: %v\n%s", command, err, output)
		}
	}
}

// checkPassword connects with a wrong password, which must fail as in production.
func checkPassword(t *testing.T, s stackUnderTest) {
	t.Helper()
	for _, role := range []string{"outbox", "outbox_relay"} {
		cmd := exec.Command(filepath.Join(s.dir, "bin", "relay"), "check")
		cmd.Env = append(os.Environ(),
			fmt.Sprintf("DATABASE_URL=postgres://%s:wrong@127.0.0.1:%d/outbox?sslmode=disable",
				role, s.postgres), "RELAY_DESTINATION=arn:aws:sns:us-east-1:000000000000:none", "AWS_REGION=us-east-1",
			"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
			fmt.Sprintf("AWS_ENDPOINT_URL=http://127.0.0.1:%d", s.broker))
		if output, err := cmd.CombinedOutput(); err == nil ||
			!bytes.Contains(output, []byte("password authentication")) {
			t.Errorf("%s with a wrong password: %v\n%s", role, err, output)
		}
	}
}

// checkEndExplained kills Postgres, which ends the stack. The next commands report that.
func checkEndExplained(t *testing.T, s stackUnderTest) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(s.dir, "postgres", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	const want = "postgres ended: signal: killed"
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		status, err := s.try("status")
		if err != nil && strings.Contains(status, want) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("status does not say %q (%v):\n%s", want, err, status)
		}
	}
	if up := s.run("up"); !strings.Contains(up, want) {
		t.Errorf("up does not say %q:\n%s", want, up)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "log", "relay.1.log")); err != nil {
		t.Errorf("the log of the run before: %v", err)
	}
}

type stackUnderTest struct {
	t                       *testing.T
	program, way, dir       string
	postgres, broker, relay int
}

func (s stackUnderTest) run(args ...string) string {
	s.t.Helper()
	output, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return output
}

// try returns the output of a command that may fail.
func (s stackUnderTest) try(args ...string) (string, error) {
	cmd := exec.Command(s.program, args...)
	cmd.Env = append(os.Environ(), "STACK="+s.way, "LOCAL_DIR="+s.dir, "POSTGRES_PORT="+strconv.Itoa(s.postgres),
		"BROKER_PORT="+strconv.Itoa(s.broker), "RELAY_PORT="+strconv.Itoa(s.relay))
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	return output.String(), err
}

// folder returns a directory that the user of the Postgres server may enter if the test runs as
// root.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "stack-") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := procgroup.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
