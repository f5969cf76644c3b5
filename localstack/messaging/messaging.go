// Package messaging creates the topic and the queues of infra/messaging.yaml at a broker on this machine: through
// CloudFormation where the broker has it, else one resource after the other from the same file.
package messaging

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// What every local broker takes. They are no secrets.
const (
	Region    = "us-east-1"
	AccessKey = "test"
	SecretKey = "test"
)

// StackName is the name of the CloudFormation stack.
const StackName = "messaging"

// Outputs are the outputs of the template by the same names.
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

// Config is the SDK's configuration for a broker on this machine. Nothing of the user's own AWS settings gets in, so
// nothing can reach an account by mistake.
func Config(endpoint string) aws.Config {
	return aws.Config{
		Region:       Region,
		BaseEndpoint: aws.String(endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider(AccessKey, SecretKey, ""),
	}
}

// timeout bounds a whole deployment. LocalStack takes two seconds for it.
const timeout = 2 * time.Minute

// Deploy brings the CloudFormation stack to what template says.
func Deploy(ctx context.Context, endpoint string, template []byte) (Outputs, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	values, err := newDeployment(endpoint, string(template)).run(ctx)
	if err != nil {
		return Outputs{}, fmt.Errorf("deploy stack %s at %s: %w", StackName, endpoint, err)
	}
	return newOutputs(values)
}

// Create makes the resources of template one by one, at a broker without CloudFormation. Creating them again changes
// nothing.
func Create(ctx context.Context, endpoint string, template []byte) (Outputs, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	values, err := evaluate(ctx, template, newCreator(endpoint))
	if err != nil {
		return Outputs{}, fmt.Errorf("create topic and queues at %s: %w", endpoint, err)
	}
	return newOutputs(values)
}
