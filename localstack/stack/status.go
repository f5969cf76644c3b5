package stack

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/messaging"
)

// Status prints one line a part: whether it works, where it is, and what it has to do.
func (s *Stack) Status(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	state, err := s.load()
	if err != nil {
		return err
	}
	if state == nil {
		fmt.Fprintln(out, "the stack is not up: run make localstack-up")
		return nil
	}
	s.Ports = state.Ports
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	condition := map[bool]string{true: "up", false: "starting, or its start failed"}[state.Ready]
	fmt.Fprintf(table, "stack\t%s\t%s, since %s\n", state.Way, condition, state.Started.Local().Format(time.DateTime))
	fmt.Fprintf(table, "postgres\t%s\t%s\n", local(s.Ports.Postgres), describe(s.postgresStatus(ctx)))
	fmt.Fprintf(table, "broker\t%s\t%s: %s\n", local(s.Ports.Broker), state.Broker, describe(s.queueStatus(ctx, state.Outputs)))
	fmt.Fprintf(table, "relay\t%s\t%s\n", local(s.Ports.Relay), describe(s.relayStatus(ctx)))
	return table.Flush()
}

func describe(text string, err error) string {
	if err != nil {
		return "does not work: " + err.Error()
	}
	return text
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
	return fmt.Sprintf("version %s: %d events, %d dead letters", version, events, deadLetters), nil
}

func (s *Stack) relayStatus(ctx context.Context) (string, error) {
	if err := s.relayReady(ctx); err != nil {
		return "", err
	}
	var slot string
	var active bool
	var behind int64
	err := s.query(ctx, `
		SELECT slot_name, active, coalesce(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), confirmed_flush_lsn), 0)::bigint
		FROM pg_replication_slots WHERE database = current_database() ORDER BY active DESC LIMIT 1`,
		&slot, &active, &behind)
	if err != nil {
		return "", fmt.Errorf("look at the slot: %w", err)
	}
	reading := map[bool]string{true: "streams", false: "stands by"}[active]
	return fmt.Sprintf("%s: slot %s is %d bytes of log behind", reading, slot, behind), nil
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
	client := sqs.NewFromConfig(messaging.Config(s.Ports.Endpoint()))
	counts := map[string]int{}
	for name, url := range map[string]string{"queue": outputs.QueueUrl, "dead": outputs.DeadLetterQueueUrl} {
		got, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
			QueueUrl: aws.String(url),
			AttributeNames: []types.QueueAttributeName{
				types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
			},
		})
		if err != nil {
			return "", err
		}
		for attribute, value := range got.Attributes {
			var n int
			if _, err := fmt.Sscan(value, &n); err != nil {
				return "", fmt.Errorf("attribute %s: %w", attribute, err)
			}
			counts[name] += n
		}
	}
	return fmt.Sprintf("%d messages in the queue, %d dead letters", counts["queue"], counts["dead"]), nil
}
