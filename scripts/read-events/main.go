// Command read-events prints the events of the queue as they arrive: formatted on a terminal, as
// JSON lines in a pipe. Without --delete it only looks: the printed messages are hidden from other
// readers while it runs and given back at its end.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
)

type cli struct {
	QueueURL string `help:"Queue to read with the AWS credentials and the endpoint of the environment. The local stack's if empty." env:"QUEUE_URL"`
	Dir      string `help:"Folder of the local stack." env:"LOCAL_DIR" default:".local"`
	Delete   bool   `help:"Delete the printed events, as a consumer does." env:"DELETE"`
	Max      int    `help:"Stop after so many events; 0: continue until Ctrl-C." env:"MAX"`
	Once     bool   `help:"Print the events that the queue holds and stop, without waiting for others." env:"ONCE"`
	JSON     bool   `help:"JSON lines on a terminal too." env:"JSON"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // `read-events | head` is an end as good as Ctrl-C: messages are given back
	var c cli
	kong.Parse(&c, kong.Name("read-events"), kong.Description(
		"Prints the events of the queue as they come. Without --delete they stay in the queue, hidden while this "+
			"runs. A FIFO queue also hides later events of the same aggregate, and a queue with a redrive policy "+
			"counts each look."))
	err := run(ctx, c, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "read-events:", err)
		os.Exit(1)
	}
}

// run prints the events to out and everything else to notes, so that a pipe carries events alone.
func run(ctx context.Context, c cli, out *os.File, notes io.Writer) error {
	client, queue, err := c.open(ctx)
	if err != nil {
		return err
	}
	show := showJSON(out)
	if info, err := out.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 && !c.JSON {
		show = showPretty(out)
	}
	r := &reader{client: client, queue: aws.String(queue), remove: c.Delete, shown: map[string]string{}}
	ends := "until Ctrl-C"
	switch {
	case c.Once:
		ends = "once"
	case c.Max > 0:
		ends = fmt.Sprintf("until %d arrived", c.Max)
	}
	fmt.Fprintf(notes, "reading %s %s\n", queue, ends)
	if err := r.explainEmptiness(ctx, notes); err != nil {
		return err
	}
	err = r.read(ctx, limits{max: c.Max, once: c.Once}, show)
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

// limits say when to stop.
type limits struct {
	max  int  // events; 0 for no limit
	once bool // at the first answer without a message
}

func (l limits) reached(count int) bool { return l.max > 0 && count >= l.max }

// batch is the number of messages to ask for.
func (l limits) batch(count int) int32 {
	const largest = 10 // https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
	if l.max == 0 {
		return largest
	}
	return int32(min(largest, l.max-count))
}

// wait is the time for the answer, in seconds. A wait of one second asks every server of the queue.
func (l limits) wait() int32 {
	if l.once {
		return 1
	}
	return 20
}

// read returns when ctx ends or a limit is reached.
func (r *reader) read(ctx context.Context, limits limits, show func(types.Message) error) error {
	for count := 0; !limits.reached(count); {
		got, err := r.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: r.queue, MaxNumberOfMessages: limits.batch(count), WaitTimeSeconds: limits.wait(),
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
		if limits.once && len(got.Messages) == 0 {
			return nil
		}
		shown, err := r.print(got.Messages, show)
		if err != nil {
			return err
		}
		count += shown
		if r.remove {
			if err := r.delete(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// print shows the messages that were not shown before, and returns their number.
func (r *reader) print(messages []types.Message, show func(types.Message) error) (count int, err error) {
	for _, message := range messages {
		id := aws.ToString(message.MessageId)
		_, again := r.shown[id]
		r.shown[id] = aws.ToString(message.ReceiptHandle)
		if again {
			continue
		}
		if err := show(message); err != nil {
			return count, err
		}
		count++
	}
	return count, nil
}
