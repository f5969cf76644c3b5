package bench

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// source is the limit that the server sets: it reads the log and discards it. It is pg_recvlogical,
// or a loop in this process if that program is missing.
func source() contestant {
	if path, err := exec.LookPath("pg_recvlogical"); err == nil {
		return contestant{name: "pg_recvlogical", run: func(ctx context.Context, _ *run, b *backlog, l link,
			_ contestant,
		) (result, error) {
			return readByProgram(ctx, path, b, l)
		}}
	}
	return contestant{name: "bare reader", run: func(ctx context.Context, _ *run, b *backlog, l link,
		_ contestant,
	) (result, error) {
		return withSlot(ctx, b, func(slot string) (result, error) {
			return readAll(ctx, b, l, slot, b.events, func(*pglogrepl.InsertMessage) error { return nil })
		})
	}}
}

func withSlot(ctx context.Context, b *backlog, use func(slot string) (result, error)) (result, error) {
	slot := fmt.Sprintf("bench_%d", time.Now().UnixNano())
	if err := b.newSlot(ctx, slot); err != nil {
		return result{}, err
	}
	var got result
	server, err := b.metered(ctx, slot, func() (err error) {
		got, err = use(slot)
		return err
	})
	if err != nil {
		return result{}, err
	}
	if got.Events == b.events {
		got.Server = server
	}
	return got, b.dropSlot(ctx, slot)
}

// readByProgram measures without the start of the program, which is the time that it takes to read
// no event.
func readByProgram(ctx context.Context, path string, b *backlog, l link) (result, error) {
	return withSlot(ctx, b, func(slot string) (result, error) {
		start, usedBefore, err := readTo(ctx, path, b, l, slot, b.begin)
		if err != nil {
			return result{}, err
		}
		took, used, err := readTo(ctx, path, b, l, slot, b.end)
		return result{
			Events: b.events, PerSecond: float64(b.events) / (took - start).Seconds(),
			Processor: float64((used - usedBefore).Microseconds()) / float64(b.events),
		}, err
	})
}

// readTo reads the log with pg_recvlogical up to a position. It returns how long that took, and the
// processor time.
func readTo(ctx context.Context, path string, b *backlog, l link, slot, end string) (
	took, used time.Duration, err error,
) {
	cmd := exec.CommandContext(ctx, path, "--dbname", b.url(l), "--slot", slot, "--start", "--no-loop", "--file",
		"/dev/null", "--endpos", end,
		"--option", "proto_version=1", "--option", "publication_names=outbox_pub")
	began := time.Now()
	if output, err := cmd.CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("%w\n%s", err, output)
	}
	return time.Since(began), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// plain is the simplest relay: one event, one request by the SDK, one confirmation, and then the
// next event.
func plain(latency time.Duration) contestant {
	return contestant{name: "one by one", to: queue, latency: latency, share: 400, run: drainOneByOne}
}

func drainOneByOne(ctx context.Context, r *run, b *backlog, l link, c contestant) (result, error) {
	to, err := r.startBroker(l, BrokerOptions{Latency: c.latency})
	if err != nil {
		return result{}, err
	}
	defer to.stop()
	queue := sqs.New(sqs.Options{
		HTTPClient: client, Region: "us-east-1", BaseEndpoint: &to.url,
		Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", ""),
	})
	return withSlot(ctx, b, func(slot string) (result, error) {
		n := 0
		got, err := readAll(ctx, b, l, slot, b.events/c.share, func(row *pglogrepl.InsertMessage) error {
			n++
			_, err := queue.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{
				QueueUrl: aws.String(to.url + "/000000000000/bench"),
				Entries:  []types.SendMessageBatchRequestEntry{entryOf(row)},
			})
			return err
		})
		got.Requests = 1
		return got, err
	})
}

// entryOf returns a message with the main attributes, from the columns of outbox_events.
func entryOf(row *pglogrepl.InsertMessage) types.SendMessageBatchRequestEntry {
	attribute := func(column int, kind string) types.MessageAttributeValue {
		return types.MessageAttributeValue{
			DataType:    &kind,
			StringValue: aws.String(string(row.Tuple.Columns[column].Data)),
		}
	}
	return types.SendMessageBatchRequestEntry{
		Id: aws.String("0"), MessageBody: aws.String(string(row.Tuple.Columns[5].Data)),
		MessageAttributes: map[string]types.MessageAttributeValue{
			"event_id": attribute(0, "String"), "event_type": attribute(4, "String"),
			"sequence": attribute(1, "Number"),
		},
	}
}

// readAll passes that many rows of a backlog to take, and confirms each transaction.
func readAll(ctx context.Context, b *backlog, l link, slot string, events int,
	take func(*pglogrepl.InsertMessage) error,
) (result, error) {
	conn, err := pgconn.Connect(ctx, b.url(l)+"&replication=database")
	if err != nil {
		return result{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = pglogrepl.StartReplication(ctx, conn, slot, 0, pglogrepl.StartReplicationOptions{
		Mode: pglogrepl.LogicalReplication, PluginArgs: []string{"proto_version '1'", "publication_names 'outbox_pub'"},
	})
	if err != nil {
		return result{}, err
	}
	began, rows := time.Now(), 0
	for rows < events {
		message, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return result{}, err
		}
		data, ok := message.(*pgproto3.CopyData)
		if !ok || data.Data[0] != pglogrepl.XLogDataByteID {
			continue
		}
		log, err := pglogrepl.ParseXLogData(data.Data[1:])
		if err != nil {
			return result{}, err
		}
		parsed, err := pglogrepl.Parse(log.WALData)
		if err != nil {
			return result{}, err
		}
		switch m := parsed.(type) {
		case *pglogrepl.InsertMessage:
			rows++
			err = take(m)
		case *pglogrepl.CommitMessage:
			err = pglogrepl.SendStandbyStatusUpdate(ctx, conn,
				pglogrepl.StandbyStatusUpdate{WALWritePosition: m.TransactionEndLSN})
		}
		if err != nil {
			return result{}, err
		}
	}
	return result{Events: rows, PerSecond: float64(rows) / time.Since(began).Seconds()}, nil
}
