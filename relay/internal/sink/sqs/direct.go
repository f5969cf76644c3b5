package sqs

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// directPublisher writes its own requests, with the endpoint and the credentials of the SDK's
// client.
type directPublisher struct {
	caller   *transport.Caller
	queueURL string
	fifo     bool
	answers  answerReader
}

func newDirect(
	ctx context.Context,
	client *transport.Client,
	queueURL string,
	fifo bool,
	o sqs.Options,
) (*directPublisher, error) {
	endpoint, err := o.EndpointResolverV2.ResolveEndpoint(ctx, sqs.EndpointParameters{
		Region:       &o.Region,
		UseDualStack: aws.Bool(o.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
		UseFIPS:      aws.Bool(o.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled),
		Endpoint:     o.BaseEndpoint,
	})
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	caller := transport.NewCaller(client, transport.Endpoint{
		URL: endpoint.URI, Service: "sqs", Region: o.Region, Credentials: o.Credentials, AppID: o.AppID,
		Header: http.Header{
			"Content-Type": {"application/x-amz-json-1.0"},
			"X-Amz-Target": {"AmazonSQS.SendMessageBatch"},
			// Errors have their codes of the Query protocol in a header.
			"X-Amzn-Query-Mode": {"true"},
		},
		IgnoreClockSkew: o.DisableClockSkewCorrection,
	})
	return &directPublisher{caller, queueURL, fifo, answerReader{o.Protocol}}, nil
}

func (p *directPublisher) publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
	id, request := sink.NewRequestID(), transport.NewRequest()
	request.Text = appendJSON(request.Text, id, p.queueURL, p.fifo, batch)
	answer, err := p.caller.Post(ctx, request)
	if err != nil {
		return nil, err
	}
	defer answer.Release()
	results, err := p.answers.read(ctx, answer, id, batch)
	return results, p.caller.Answered(answer, err)
}
