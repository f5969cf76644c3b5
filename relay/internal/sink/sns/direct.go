package sns

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// directPublisher writes its own requests, with the endpoint and the credentials of the SDK's
// client.
type directPublisher struct {
	caller   *transport.Caller
	topicARN string
	fifo     bool
}

func newDirect(
	ctx context.Context,
	client *transport.Client,
	topicARN string,
	fifo bool,
	o sns.Options,
) (*directPublisher, error) {
	endpoint, err := o.EndpointResolverV2.ResolveEndpoint(ctx, sns.EndpointParameters{
		Region:       &o.Region,
		UseDualStack: aws.Bool(o.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
		UseFIPS:      aws.Bool(o.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled),
		Endpoint:     o.BaseEndpoint,
	})
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	caller := transport.NewCaller(client, transport.Endpoint{
		URL: endpoint.URI, Service: "sns", Region: o.Region, Credentials: o.Credentials, AppID: o.AppID,
		Header:          http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		IgnoreClockSkew: o.DisableClockSkewCorrection,
	})
	return &directPublisher{caller, topicARN, fifo}, nil
}

func (p *directPublisher) publish(ctx context.Context, batch []*sink.Message) ([]sink.Result, error) {
	id, request := sink.NewRequestID(), transport.NewRequest()
	request.Text = appendForm(request.Text, id, p.topicARN, p.fifo, batch)
	answer, err := p.caller.Post(ctx, request)
	if err != nil {
		return nil, err
	}
	defer answer.Release()
	results, err := readAnswer(answer, id, len(batch))
	return results, p.caller.Answered(answer, err)
}
