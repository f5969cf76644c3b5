package stack

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
)

// part is the status of one part.
type part struct {
	name, in string // in a table, and in a sentence
	port     int
	text     string
	err      error
}

// Status prints one line for each part: state, address and backlog. It returns an error if a part
// does not work.
func (s *Stack) Status(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	state, err := s.load()
	if err != nil {
		return err
	}
	if state == nil {
		return s.statusOfNone(out)
	}
	s.Ports = state.Ports
	parts := s.parts(ctx, *state)
	condition := map[bool]string{true: "up", false: "starting, or its start failed"}[state.Ready]
	broken := broken(parts)
	if broken != "" {
		condition += ", but " + broken
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "stack\t%s\t%s, since %s\n", state.Way, condition, state.Started.Local().Format(time.DateTime))
	for _, p := range parts {
		fmt.Fprintf(table, "%s\t%s\t%s\n", p.name, local(p.port), p.describe())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if broken != "" {
		return fmt.Errorf("%s: %s", broken, remedy(*state, parts))
	}
	return nil
}

// remedy names the command that repairs the parts that do not work.
func remedy(state State, parts []part) string {
	switch {
	case lacksMessaging(parts):
		return "run make localstack-up, which creates what is missing"
	case state.Way == Compose:
		return "run make localstack-up, which starts what does not run, or see make localstack-logs"
	}
	return "see make localstack-logs, or run make localstack-down and then make localstack-up"
}

// statusOfNone is no error if a command stopped the stack, or none was started.
func (s *Stack) statusOfNone(out io.Writer) error {
	end, err := s.ending()
	if err != nil {
		return err
	}
	if end != nil {
		return s.notUp()
	}
	fmt.Fprintln(out, s.notUp())
	return nil
}

func (s *Stack) parts(ctx context.Context, state State) []part {
	postgres := part{name: "postgres", in: "postgres", port: s.Ports.Postgres}
	postgres.text, postgres.err = s.postgresStatus(ctx)
	broker := part{name: "broker", in: "the broker", port: s.Ports.Broker}
	broker.text, broker.err = s.queueStatus(ctx, state.Outputs)
	broker.text = state.Broker + ": " + broker.text
	relay := part{name: "relay", in: "the relay", port: s.Ports.Relay}
	relay.text, relay.err = s.relayStatus(ctx)
	parts := []part{postgres, broker, relay}
	if state.Way == Compose {
		c := &compose{Stack: s}
		for i, p := range parts {
			if p.err != nil {
				parts[i].err = c.explained(ctx, p)
			}
		}
	}
	return parts
}

func (p part) describe() string {
	if p.err != nil {
		return "does not work: " + p.err.Error()
	}
	return p.text
}

// broken names the parts that do not work, or returns an empty string.
func broken(parts []part) string {
	var names []string
	for _, p := range parts {
		if p.err != nil {
			names = append(names, p.in)
		}
	}
	switch last := len(names) - 1; {
	case last < 0:
		return ""
	case last == 0:
		return names[0] + " does not work"
	default:
		return strings.Join(names[:last], ", ") + " and " + names[last] + " do not work"
	}
}

func (s *Stack) postgresStatus(ctx context.Context) (string, error) {
	var events, deadLetters int
	var version string
	err := s.query(ctx, `
		SELECT split_part(current_setting('server_version'), ' ', 1),
		       (SELECT count(*) FROM outbox_events),
		       (SELECT count(*) FROM outbox_dead_letters WHERE state IN ('parked', 'redriving'))`,
		&version, &events, &deadLetters)
	if err != nil {
		return "", err
	}
	return "version " + version + ": " + counted(events, "event") + ", " + counted(deadLetters, "dead letter"), nil
}

// counted is a number with its noun, as in "1 event" and "2 events".
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func (s *Stack) query(ctx context.Context, sql string, into ...any) error {
	conn, err := pgx.Connect(ctx, s.Ports.DatabaseURL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return conn.QueryRow(ctx, sql).Scan(into...)
}

func (s *Stack) queueStatus(ctx context.Context, outputs messaging.Outputs) (string, error) {
	missing, err := messaging.Missing(ctx, s.Ports.Endpoint(), outputs)
	if err != nil {
		return "", err
	}
	if len(missing) > 0 {
		return "", &missingError{missing}
	}
	client := sqs.NewFromConfig(messaging.Config(s.Ports.Endpoint()))
	var text []string
	for _, q := range []struct {
		name string
		messaging.Queues
	}{{"queue", outputs.Queues}, {"shipments queue", outputs.Shipments}} {
		waiting, err := countMessages(ctx, client, q.QueueUrl)
		if err != nil {
			return "", err
		}
		dead, err := countMessages(ctx, client, q.DeadLetterQueueUrl)
		if err != nil {
			return "", err
		}
		text = append(text, counted(waiting, "message")+" in the "+q.name+", "+counted(dead, "dead letter"))
	}
	return strings.Join(text, "; "), nil
}

// countMessages returns the number of messages in a queue, with those that a consumer has received.
func countMessages(ctx context.Context, client *sqs.Client, url string) (count int, err error) {
	got, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(url),
		AttributeNames: []types.QueueAttributeName{
			types.QueueAttributeNameApproximateNumberOfMessages,
			types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
		},
	})
	if err != nil {
		return 0, err
	}
	for attribute, value := range got.Attributes {
		n, err := strconv.Atoi(value)
		if err != nil {
			return 0, fmt.Errorf("attribute %s: %w", attribute, err)
		}
		count += n
	}
	return count, nil
}
