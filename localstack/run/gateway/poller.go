package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	// pollWait is the time that SQS waits for a message.
	pollWait = 20 * time.Second
	// pollPause is the pause after a request that the broker did not answer.
	pollPause = time.Second
	// queueTime is the time for an idle process of the function, beyond the function's own timeout.
	queueTime = 10 * time.Second
)

// poller reads a queue and invokes a function with its messages, as an event source mapping of
// Lambda does. It deletes the messages that the function does not report. The others stay invisible
// until the visibility timeout of the queue ends.
type poller struct {
	mapping
	client   *sqs.Client
	queueARN string
	region   string
	queueURL *string
	timeout  time.Duration // of the function
	pool     *pool
	log      *namedLog
}

// newPollers returns a poller for each process of the function.
func newPollers(m mapping, f function, p *pool, options Options, log *namedLog) (pollers []*poller) {
	client := sqs.NewFromConfig(options.Broker)
	for range options.Concurrency {
		pollers = append(pollers, &poller{
			mapping: m, client: client, queueARN: options.Queues[m.source], region: options.Broker.Region,
			timeout: f.timeout, pool: p, log: log,
		})
	}
	return pollers
}

// serveAndPoll serves requests and polls queues until ctx is done. It returns when the requests and
// batches in flight are finished.
func serveAndPoll(ctx context.Context, server *http.Server, listener net.Listener, pollers []*poller) error {
	polling, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, p := range pollers {
		running.Go(func() { p.run(polling) })
	}
	err := serve(ctx, server, listener)
	stop()
	running.Wait()
	return err
}

// run polls until ctx is done, and then finishes the batch in progress.
func (p *poller) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := p.poll(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		p.log.printf("poll %s: %v", p.queueARN, err)
		select {
		case <-ctx.Done():
		case <-time.After(pollPause):
		}
	}
}

// poll receives and processes one batch.
func (p *poller) poll(ctx context.Context) error {
	if p.queueURL == nil {
		found, err := p.client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(queueNameOf(p.queueARN))})
		if err != nil {
			return err
		}
		p.queueURL = found.QueueUrl
	}
	received, err := p.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: p.queueURL, MaxNumberOfMessages: int32(p.batchSize), WaitTimeSeconds: int32(pollWait.Seconds()),
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil || len(received.Messages) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.timeout+queueTime)
	defer cancel()
	succeeded, err := p.process(ctx, received.Messages)
	return errors.Join(err, p.remove(ctx, succeeded))
}

// process invokes the function and returns the messages to delete. A batch that exceeds the payload
// of an invocation is processed in two parts. The second part waits in the queue if the first one
// has failures, because a FIFO queue may have the same message group in both.
func (p *poller) process(ctx context.Context, messages []types.Message) (succeeded []types.Message, err error) {
	payload, err := json.Marshal(newSQSEvent(p.queueARN, p.region, messages))
	if err != nil {
		return nil, fmt.Errorf("encode the batch: %w", err)
	}
	if half := len(messages) / 2; len(payload) > maxLambdaPayload && half > 0 {
		succeeded, err = p.process(ctx, messages[:half])
		if err != nil || len(succeeded) < half {
			return succeeded, err
		}
		rest, err := p.process(ctx, messages[half:])
		return append(succeeded, rest...), err
	}
	answer, err := p.pool.invoke(ctx, newInvocation(newRequestIDs(&http.Request{}), payload))
	if err != nil {
		return nil, err
	}
	if !p.partial {
		return messages, nil
	}
	failed, err := failedMessages(answer, messages)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if !failed[aws.ToString(m.MessageId)] {
			succeeded = append(succeeded, m)
		}
	}
	return succeeded, nil
}

// remove deletes messages from the queue.
func (p *poller) remove(ctx context.Context, messages []types.Message) error {
	if len(messages) == 0 {
		return nil
	}
	var entries []types.DeleteMessageBatchRequestEntry
	for i, m := range messages {
		entries = append(entries, types.DeleteMessageBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle,
		})
	}
	_, err := p.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: p.queueURL, Entries: entries})
	return err
}
