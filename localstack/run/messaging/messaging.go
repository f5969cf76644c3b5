// Package messaging creates the topic and the queues of infra/messaging.yaml and
// infra/consumer.yaml at a local broker. It uses CloudFormation if the broker supports it, and
// otherwise creates the resources one by one from the same files.
package messaging

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
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

// Templates are the contents of the two CloudFormation templates.
type Templates struct {
	Messaging []byte // infra/messaging.yaml
	Consumer  []byte // infra/consumer.yaml, for the function createshipment
}

// Outputs are the outputs of messaging.yaml, by the same names, and those of consumer.yaml.
type Outputs struct {
	TopicArn string
	Queues
	Shipments Queues
}

// Queues are the outputs that both templates have.
type Queues struct {
	QueueUrl            string
	QueueArn            string
	DeadLetterQueueUrl  string
	UndeliveredQueueUrl string
}

func newQueues(template string, values map[string]string) (q Queues, err error) {
	var missing []error
	for name, field := range map[string]*string{
		"QueueUrl": &q.QueueUrl, "QueueArn": &q.QueueArn,
		"DeadLetterQueueUrl": &q.DeadLetterQueueUrl, "UndeliveredQueueUrl": &q.UndeliveredQueueUrl,
	} {
		if *field = values[name]; *field == "" {
			missing = append(missing, fmt.Errorf("the template %s has no output %s", template, name))
		}
	}
	return q, errors.Join(missing...)
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

// create creates the resources of a template with these parameters and returns its outputs. name is
// the name of the template and of its stack.
type create func(ctx context.Context, name string, template []byte, parameters map[string]string) (
	map[string]string, error)

// both creates the resources of both templates.
func (t Templates) both(ctx context.Context, create create) (o Outputs, err error) {
	values, err := create(ctx, "messaging", t.Messaging, nil)
	if err != nil {
		return Outputs{}, err
	}
	if o.TopicArn = values["TopicArn"]; o.TopicArn == "" {
		return Outputs{}, errors.New("the template messaging has no output TopicArn")
	}
	if o.Queues, err = newQueues("messaging", values); err != nil {
		return Outputs{}, err
	}
	values, err = create(ctx, "consumer", t.Consumer, map[string]string{
		"TopicArn": o.TopicArn,
		"Fifo":     strconv.FormatBool(strings.HasSuffix(o.TopicArn, ".fifo")),
	})
	if err != nil {
		return Outputs{}, err
	}
	o.Shipments, err = newQueues("consumer", values)
	return o, err
}

// Deploy creates or updates a CloudFormation stack of each template, and creates the resources of
// the stacks that were deleted. CloudFormation does not look for them if the template is the same.
func Deploy(ctx context.Context, endpoint string, templates Templates) (Outputs, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	deploy := func(ctx context.Context, name string, template []byte, parameters map[string]string) (
		map[string]string, error,
	) {
		values, err := newDeployment(endpoint, name, template, parameters).run(ctx)
		if err != nil {
			return nil, fmt.Errorf("deploy stack %s at %s: %w", name, endpoint, err)
		}
		return values, nil
	}
	outputs, err := templates.both(ctx, deploy)
	if err != nil {
		return Outputs{}, err
	}
	missing, err := Missing(ctx, endpoint, outputs)
	if err != nil || len(missing) == 0 {
		return outputs, err
	}
	return Create(ctx, endpoint, templates)
}

// Create creates the resources of the templates one by one that the broker does not have, without
// CloudFormation.
func Create(ctx context.Context, endpoint string, templates Templates) (Outputs, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	creator := newCreator(endpoint)
	outputs, err := templates.both(ctx, func(ctx context.Context, name string, template []byte,
		parameters map[string]string,
	) (map[string]string, error) {
		values, err := evaluate(ctx, template, parameters, creator)
		if err != nil {
			return nil, fmt.Errorf("create the resources of template %s at %s: %w", name, endpoint, err)
		}
		return values, nil
	})
	if err != nil {
		return Outputs{}, err
	}
	return outputs, nil
}
