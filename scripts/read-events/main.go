// Command read-events prints the events of the queue as they arrive: formatted on a terminal, as
// JSON lines in a pipe. Without --delete it only looks: the printed messages are hidden from other
// readers while it runs and given back at its end.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/localstack/messaging"
	"github.com/outbox-relay/outbox-relay/localstack/stack"
)

type cli struct {
	QueueURL string `help:"Queue to read with the AWS credentials and the endpoint of the environment. The local stack's if empty." env:"QUEUE_URL"`
	Dir      string `help:"Folder of the local stack." env:"LOCAL_DIR" default:".local"`
	Delete   bool   `help:"Delete what was shown, as a consumer does." env:"DELETE"`
	Max      int    `help:"Stop after so many events; 0: go on until Ctrl-C." env:"MAX"`
	JSON     bool   `help:"JSON lines on a terminal too." env:"JSON"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // `read-events | head` is an end as good as Ctrl-C: messages are given back
	var c cli
	kong.Parse(&c, kong.Name("read-events"), kong.Description(
		"Prints the events of the queue as they come. Without --delete they stay in the queue, hidden while this "+
			"runs. "+
			"A FIFO queue hides what follows in the same aggregate too, and a queue with a redrive policy counts "+
			"each look."))
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "read-events:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c cli) error {
	client, queue, err := c.open(ctx)
	if err != nil {
		return err
	}
	show := showJSON(os.Stdout)
	if info, err := os.Stdout.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 && !c.JSON {
		show = showPretty(os.Stdout)
		fmt.Fprintf(os.Stderr, "reading %s until Ctrl-C\n", queue)
	}
	r := &reader{client: client, queue: aws.String(queue), remove: c.Delete, shown: map[string]string{}}
	err = r.read(ctx, c.Max, show)
	if errors.Is(err, syscall.EPIPE) {
		err = nil
	}
	return errors.Join(err, r.release(context.WithoutCancel(ctx)))
}

// open returns the queue of the environment or, without one, that of the local stack, which no AWS
// setting leads astray.
func (c cli) open(ctx context.Context) (*sqs.Client, string, error) {
	if c.QueueURL != "" {
		settings, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return nil, "", fmt.Errorf("load the AWS settings: %w", err)
		}
		return sqs.NewFromConfig(settings), c.QueueURL, nil
	}
	state, err := stack.New(stack.Settings{Dir: c.Dir}).Load()
	if err != nil {
		return nil, "", err
	}
	return sqs.NewFromConfig(messaging.Config(state.Ports.Endpoint())), state.Outputs.QueueUrl, nil
}

// reader reads one queue.
type reader struct {
	client *sqs.Client
	queue  *string
	remove bool
	shown  map[string]string // receipt handles of printed messages that are not deleted, by message id
}

// hidden is how long a message that is only looked at stays away. When it comes back during a long
// run it is not shown again.
const hidden = 10 * time.Minute

// read returns when ctx ends or max events were shown.
func (r *reader) read(ctx context.Context, max int, show func(types.Message) error) error {
	for count := 0; max == 0 || count < max; {
		batch := int32(10)
		if max > 0 {
			batch = min(batch, int32(max-count))
		}
		got, err := r.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: r.queue, MaxNumberOfMessages: batch, WaitTimeSeconds: 20,
			VisibilityTimeout:           int32(hidden.Seconds()),
			MessageAttributeNames:       []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the queue: %w", err)
		}
		for _, message := range got.Messages {
			id := aws.ToString(message.MessageId)
			_, again := r.shown[id]
			r.shown[id] = aws.ToString(message.ReceiptHandle)
			if again {
				continue
			}
			if err := show(message); err != nil {
				return err
			}
			count++
		}
		if r.remove {
			if err := r.delete(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}
