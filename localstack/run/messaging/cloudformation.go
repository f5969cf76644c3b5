package messaging

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/smithy-go"
)

// pollInterval suits a local broker. The SDK's waiters poll every 30 seconds, as AWS needs.
const pollInterval = 200 * time.Millisecond

type deployment struct {
	client   *cloudformation.Client
	template string
}

func newDeployment(endpoint, template string) *deployment {
	return &deployment{client: cloudformation.NewFromConfig(Config(endpoint)), template: template}
}

// run creates or updates the stack and returns its outputs.
func (d *deployment) run(ctx context.Context) (map[string]string, error) {
	stack, err := d.describe(ctx)
	if err != nil {
		return nil, err
	}
	if stack != nil && unusable(stack.StackStatus) {
		if err := d.remove(ctx); err != nil {
			return nil, err
		}
		stack = nil
	}
	if stack == nil {
		err = d.create(ctx)
	} else {
		err = d.update(ctx)
	}
	if err != nil {
		return nil, err
	}
	if stack, err = d.settle(ctx); err != nil {
		return nil, err
	}
	outputs := map[string]string{}
	for _, output := range stack.Outputs {
		outputs[aws.ToString(output.OutputKey)] = aws.ToString(output.OutputValue)
	}
	return outputs, nil
}

// unusable reports whether a stack with this status can only be deleted.
func unusable(status types.StackStatus) bool {
	return status == types.StackStatusRollbackComplete || strings.HasSuffix(string(status), "_FAILED")
}

// describe returns the stack, or nil if it does not exist.
func (d *deployment) describe(ctx context.Context) (*types.Stack, error) {
	found, err := d.client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: aws.String(StackName)})
	if validation(err, "does not exist") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("describe stack: %w", err)
	}
	for _, stack := range found.Stacks {
		if stack.StackStatus != types.StackStatusDeleteComplete {
			return &stack, nil
		}
	}
	return nil, nil
}

func (d *deployment) create(ctx context.Context) error {
	_, err := d.client.CreateStack(ctx, &cloudformation.CreateStackInput{
		StackName: aws.String(StackName), TemplateBody: aws.String(d.template),
	})
	if err != nil {
		return fmt.Errorf("create stack: %w", err)
	}
	return nil
}

// update updates the stack unless it has the same template.
func (d *deployment) update(ctx context.Context) error {
	current, err := d.client.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: aws.String(StackName)})
	if err == nil && aws.ToString(current.TemplateBody) == d.template {
		return nil
	}
	_, err = d.client.UpdateStack(ctx, &cloudformation.UpdateStackInput{
		StackName: aws.String(StackName), TemplateBody: aws.String(d.template),
	})
	if err != nil && !validation(err, "No updates are to be performed") {
		return fmt.Errorf("update stack: %w", err)
	}
	return nil
}

func (d *deployment) remove(ctx context.Context) error {
	_, err := d.client.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: aws.String(StackName)})
	if err != nil {
		return fmt.Errorf("delete unusable stack: %w", err)
	}
	for {
		stack, err := d.describe(ctx)
		if err != nil || stack == nil {
			return err
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("wait for the deletion of a stack in state %s: %w", stack.StackStatus, err)
		}
	}
}

// settle waits until the stack has a final status.
func (d *deployment) settle(ctx context.Context) (*types.Stack, error) {
	for {
		stack, err := d.describe(ctx)
		if err != nil {
			return nil, err
		}
		if stack == nil {
			return nil, errors.New("the stack disappeared while it was deployed")
		}
		switch stack.StackStatus {
		case types.StackStatusCreateComplete, types.StackStatusUpdateComplete:
			return stack, nil
		}
		if !strings.HasSuffix(string(stack.StackStatus), "_IN_PROGRESS") {
			return nil, fmt.Errorf("the stack is in state %s: %s", stack.StackStatus, d.reasons(ctx))
		}
		if err := pause(ctx); err != nil {
			return nil, fmt.Errorf("wait for a stack in state %s: %w", stack.StackStatus, err)
		}
	}
}

// reasons lists the errors by resource.
func (d *deployment) reasons(ctx context.Context) string {
	events, err := d.client.DescribeStackEvents(ctx,
		&cloudformation.DescribeStackEventsInput{StackName: aws.String(StackName)})
	if err != nil {
		return err.Error()
	}
	var reasons []string
	for _, event := range events.StackEvents {
		if strings.HasSuffix(string(event.ResourceStatus), "_FAILED") {
			reason := cmp.Or(aws.ToString(event.ResourceStatusReason), "no reason given, see the broker's log")
			reasons = append(reasons,
				aws.ToString(event.ResourceType)+" "+aws.ToString(event.LogicalResourceId)+": "+reason)
		}
	}
	return strings.Join(reasons, "; ")
}

// validation reports whether CloudFormation refused the request with these words. Its error has no
// specific code.
func validation(err error, words string) bool {
	apiErr, ok := errors.AsType[smithy.APIError](err)
	return ok && apiErr.ErrorCode() == "ValidationError" && strings.Contains(apiErr.ErrorMessage(), words)
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(pollInterval):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
