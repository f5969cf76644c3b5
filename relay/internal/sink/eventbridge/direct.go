package eventbridge

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// directPublisher writes its own requests, with the endpoint and the credentials of the SDK's
// client.
type directPublisher struct {
	caller  *transport.Caller
	busARN  string
	entry   *sink.Entry
	answers answerReader
}

func newDirect(
	ctx context.Context,
	client *transport.Client,
	busARN string,
	entry *sink.Entry,
	o eventbridge.Options,
) (*directPublisher, error) {
	endpoint, err := o.EndpointResolverV2.ResolveEndpoint(ctx, eventbridge.EndpointParameters{
		Region:       &o.Region,
		UseDualStack: aws.Bool(o.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
		UseFIPS:      aws.Bool(o.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled),
		Endpoint:     o.BaseEndpoint,
	})
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	caller := transport.NewCaller(client, transport.Endpoint{
		URL: endpoint.URI, Service: "events", Region: o.Region, Credentials: o.Credentials, AppID: o.AppID,
		Header: http.Header{
			"Content-Type": {"application/x-amz-json-1.1"},
			"X-Amz-Target": {"AWSEvents.PutEvents"},
		},
		IgnoreClockSkew: o.DisableClockSkewCorrection,
	})
	return &directPublisher{caller, busARN, entry, answerReader{o.Protocol}}, nil
}

func (p *directPublisher) publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
	request := transport.NewRequest()
	request.Text = appendJSON(request.Text, p.busARN, p.entry, batch)
	answer, err := p.caller.Post(ctx, request)
	if err != nil {
		return nil, err
	}
	defer answer.Release()
	results, err := p.answers.read(ctx, answer, len(batch))
	return results, p.caller.Answered(answer, err)
}
