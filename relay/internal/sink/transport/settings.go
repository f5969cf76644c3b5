package transport

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
)

// LoadConfig reads the AWS settings of the environment. A request for credentials ends after timeout. The SDK's cache has
// one such request under way at a time, which outlives the caller that wanted it and has no limit of its own: a service of
// credentials that never answers would leave the relay without credentials for ever, long after that service works again.
// The endpoint of a container's role is asked by a client of its own.
func LoadConfig(ctx context.Context, timeout time.Duration, options ...func(*awsconfig.LoadOptions) error) (aws.Config, error) {
	client := awshttp.NewBuildableClient().WithTimeout(timeout)
	return awsconfig.LoadDefaultConfig(ctx, append(options,
		awsconfig.WithHTTPClient(client),
		awsconfig.WithEndpointCredentialOptions(func(o *endpointcreds.Options) { o.HTTPClient = client }),
	)...)
}
