// Package messaging creates the topic and the queues of infra/messaging.yaml at a local broker. It
// uses CloudFormation if the broker supports it, and otherwise creates the resources one by one
// from the same file.
package messaging

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Credentials and region that every local broker accepts. They are not secret.
const (
	Region    = "us-east-1"
	AccessKey = "test"
	SecretKey = "test"
)

// StackName is the name of the CloudFormation stack.
const StackName = "messaging"

// Outputs are the outputs of the template, by the same names.
type Outputs struct {
	TopicArn            string
	QueueUrl            string
	QueueArn            string
	DeadLetterQueueUrl  string
	UndeliveredQueueUrl string
}

func newOutputs(values map[string]string) (o Outputs, err error) {
	var missing []error
	for name, field := range map[string]*string{
		"TopicArn": &o.TopicArn, "QueueUrl": &o.QueueUrl, "QueueArn": &o.QueueArn,
		"DeadLetterQueueUrl": &o.DeadLetterQueueUrl, "UndeliveredQueueUrl": &o.UndeliveredQueueUrl,
	} {
		if *field = values[name]; *field == "" {
			missing = append(missing, fmt.Errorf("the template has no output %s", name))
		}
	}
	return o, errors.Join(missing...)
}

// Config returns the SDK's configuration for a local broker. It ignores the user's AWS settings, so
// a mistake cannot reach an account.
func Config(endpoint string) aws.Config {
	return aws.Config{
		Region:       Region,
		BaseEndpoint: aws.String(endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider(AccessKey, SecretKey, ""),
	}
}

// timeout bounds a whole deployment. LocalStack needs two seconds.
const timeout = 2 * time.Minute

// Deploy creates or updates the CloudFormation stack from template, and creates the resources of
// the stack that were deleted. CloudFormation does not look for them if the template is the same.
func Deploy(ctx context.Context, endpoint string, template []byte) (Outputs, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	values, err := newDeployment(endpoint, string(template)).run(ctx)
	if err != nil {
		return Outputs{}, fmt.Errorf("deploy stack %s at %s: %w", StackName, endpoint, err)
	}
	outputs, err := newOutputs(values)
	if err != nil {
		return Outputs{}, err
	}
	missing, err := Missing(ctx, endpoint, outputs)
	if err != nil || len(missing) == 0 {
		return outputs, err
	}
	return Create(ctx, endpoint, template)
}

// Create creates the resources of template one by one that the broker does not have, without
// CloudFormation.
func Create(ctx context.Context, endpoint string, template []byte) (Outputs, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	values, err := evaluate(ctx, template, newCreator(endpoint))
	if err != nil {
		return Outputs{}, fmt.Errorf("create topic and queues at %s: %w", endpoint, err)
	}
	return newOutputs(values)
}
