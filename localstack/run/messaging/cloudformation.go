package messaging

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// pollInterval suits a local broker. The SDK's waiters poll every 30 seconds, as AWS needs.
const pollInterval = 200 * time.Millisecond

type deployment struct {
	client     *queryClient
	name       string
	template   string
	parameters map[string]string
}

func newDeployment(endpoint, name string, template []byte, parameters map[string]string) *deployment {
	return &deployment{
		client: &queryClient{endpoint, "cloudformation", "2010-05-15"}, name: name, template: string(template),
		parameters: parameters,
	}
}

// stack is an element of the answer to DescribeStacks.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Stack.html
type stack struct {
	Status  string `xml:"StackStatus"`
	Outputs []struct {
		Key   string `xml:"OutputKey"`
		Value string `xml:"OutputValue"`
	} `xml:"Outputs>member"`
}

// call calls an action on the stack, with the template and its parameters if the action takes one.
func (d *deployment) call(ctx context.Context, action string, answer any, withTemplate bool) error {
	parameters := url.Values{"StackName": {d.name}}
	if withTemplate {
		parameters.Set("TemplateBody", d.template)
		for i, name := range slices.Sorted(maps.Keys(d.parameters)) {
			member := fmt.Sprintf("Parameters.member.%d.", i+1)
			parameters.Set(member+"ParameterKey", name)
			parameters.Set(member+"ParameterValue", d.parameters[name])
		}
	}
	return d.client.call(ctx, action, parameters, answer)
}

// run creates or updates the stack and returns its outputs.
func (d *deployment) run(ctx context.Context) (map[string]string, error) {
	stack, err := d.describe(ctx)
	if err != nil {
		return nil, err
	}
	if stack != nil && unusable(stack.Status) {
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
		outputs[output.Key] = output.Value
	}
	return outputs, nil
}

// unusable reports whether a stack with this status can only be deleted.
func unusable(status string) bool {
	return status == "ROLLBACK_COMPLETE" || strings.HasSuffix(status, "_FAILED")
}

// describe returns the stack, or nil if it does not exist.
func (d *deployment) describe(ctx context.Context) (*stack, error) {
	var found struct {
		Stacks []stack `xml:"DescribeStacksResult>Stacks>member"`
	}
	err := d.call(ctx, "DescribeStacks", &found, false)
	if validation(err, "does not exist") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("describe stack: %w", err)
	}
	for _, stack := range found.Stacks {
		if stack.Status != "DELETE_COMPLETE" {
			return &stack, nil
		}
	}
	return nil, nil
}

func (d *deployment) create(ctx context.Context) error {
	if err := d.call(ctx, "CreateStack", nil, true); err != nil {
		return fmt.Errorf("create stack: %w", err)
	}
	return nil
}

// update updates the stack unless it has the same template.
func (d *deployment) update(ctx context.Context) error {
	var current struct {
		Template string `xml:"GetTemplateResult>TemplateBody"`
	}
	if err := d.call(ctx, "GetTemplate", &current, false); err == nil && current.Template == d.template {
		return nil
	}
	err := d.call(ctx, "UpdateStack", nil, true)
	if err != nil && !validation(err, "No updates are to be performed") {
		return fmt.Errorf("update stack: %w", err)
	}
	return nil
}

func (d *deployment) remove(ctx context.Context) error {
	if err := d.call(ctx, "DeleteStack", nil, false); err != nil {
		return fmt.Errorf("delete unusable stack: %w", err)
	}
	for {
		stack, err := d.describe(ctx)
		if err != nil || stack == nil {
			return err
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("wait for the deletion of a stack in state %s: %w", stack.Status, err)
		}
	}
}

// settle waits until the stack has a final status.
func (d *deployment) settle(ctx context.Context) (*stack, error) {
	for {
		stack, err := d.describe(ctx)
		if err != nil {
			return nil, err
		}
		if stack == nil {
			return nil, errors.New("the stack disappeared while it was deployed")
		}
		switch stack.Status {
		case "CREATE_COMPLETE", "UPDATE_COMPLETE":
			return stack, nil
		}
		if !strings.HasSuffix(stack.Status, "_IN_PROGRESS") {
			return nil, fmt.Errorf("the stack is in state %s: %s", stack.Status, d.reasons(ctx))
		}
		if err := pause(ctx); err != nil {
			return nil, fmt.Errorf("wait for a stack in state %s: %w", stack.Status, err)
		}
	}
}

// reasons lists the errors by resource.
func (d *deployment) reasons(ctx context.Context) string {
	var found struct {
		Events []struct {
			Type   string `xml:"ResourceType"`
			ID     string `xml:"LogicalResourceId"`
			Status string `xml:"ResourceStatus"`
			Reason string `xml:"ResourceStatusReason"`
		} `xml:"DescribeStackEventsResult>StackEvents>member"`
	}
	if err := d.call(ctx, "DescribeStackEvents", &found, false); err != nil {
		return err.Error()
	}
	var reasons []string
	for _, event := range found.Events {
		if strings.HasSuffix(event.Status, "_FAILED") {
			reason := cmp.Or(event.Reason, "no reason given, see the broker's log")
			reasons = append(reasons, event.Type+" "+event.ID+": "+reason)
		}
	}
	return strings.Join(reasons, "; ")
}

// validation reports whether CloudFormation refused the request with these words. Its error has no
// specific code.
func validation(err error, words string) bool {
	refused, ok := errors.AsType[*queryError](err)
	return ok && refused.Code == "ValidationError" && strings.Contains(refused.Message, words)
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(pollInterval):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
