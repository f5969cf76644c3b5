package transport

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
)

// LoadConfig reads the AWS settings of the environment. A request for credentials ends after
// timeout. The SDK's cache runs one such request at a time, which outlives its caller and has no
// limit of its own. If the credentials service never answered, the relay would have no credentials
// forever, long after the service works again. The SDK requests the endpoint of a container's role
// with a client of its own.
//
// The credentials are read again after any client of the settings was refused with them.
func LoadConfig(
	ctx context.Context,
	timeout time.Duration,
	options ...func(*awsconfig.LoadOptions) error,
) (aws.Config, error) {
	cfg, err := load(ctx, timeout, options)
	if err != nil {
		return cfg, err
	}
	credentials := newReloadedCredentials(cfg.Credentials, cfg.Logger,
		func(ctx context.Context) (aws.CredentialsProvider, error) {
			cfg, err := load(ctx, timeout, options)
			return cfg.Credentials, err
		})
	cfg.Credentials = credentials
	cfg.APIOptions = append(cfg.APIOptions, reloadAfterRefusals(credentials))
	return cfg, nil
}

func load(ctx context.Context, timeout time.Duration, options []func(*awsconfig.LoadOptions) error) (aws.Config,
	error,
) {
	client := awshttp.NewBuildableClient().WithTimeout(timeout)
	return awsconfig.LoadDefaultConfig(ctx, append(slices.Clone(options),
		awsconfig.WithHTTPClient(client),
		awsconfig.WithEndpointCredentialOptions(func(o *endpointcreds.Options) { o.HTTPClient = client }),
	)...)
}
