package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/cfn"
)

const (
	// resourceID names the custom resource for good: with another one CloudFormation would delete what has the old one.
	resourceID = "schema"
	// answerMargin is what stays of the function's time for the answer. Without one CloudFormation waits for an hour.
	answerMargin = 10 * time.Second
	// maxReason keeps the answer below the 4096 bytes that CloudFormation reads of it.
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
	maxReason = 2000
)

// handler serves two kinds of events: those of a CloudFormation custom resource, which it answers at their ResponseURL,
// and plain invocations, which get the versions.
func handler(migrate func(context.Context) (versions, error)) func(context.Context, cfn.Event) (any, error) {
	answer := cfn.LambdaWrap(func(ctx context.Context, event cfn.Event) (string, map[string]any, error) {
		if event.RequestType == cfn.RequestDelete {
			return resourceID, nil, nil // a deployment that goes away leaves the tables to their owner
		}
		working, cancel := withinBudget(ctx)
		defer cancel()
		v, err := migrate(working)
		if err == nil && len(v.Left) > 0 {
			err = fmt.Errorf("functions and relay cannot log in: have somebody who may do it make %s; then deploy again", strings.Join(v.Left, "; "))
		}
		if err != nil {
			return resourceID, nil, reason(err)
		}
		return resourceID, v.data(), nil
	})
	return func(ctx context.Context, event cfn.Event) (any, error) {
		if event.RequestType == "" {
			return migrate(ctx)
		}
		_, err := answer(ctx, event) // an error means that nobody took the answer: Lambda tries again
		return nil, err
	}
}

// data is what !GetAtt knows of the custom resource.
func (v versions) data() map[string]any {
	return map[string]any{
		"OutboxVersion": strconv.Itoa(int(v.Outbox.To)),
		"OrdersVersion": strconv.Itoa(int(v.Orders.To)),
	}
}

// withinBudget ends the work early enough to answer before Lambda ends the function.
func withinBudget(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-answerMargin))
}

// reason is what stands in the stack's events behind the failed resource.
func reason(err error) error {
	text := err.Error()
	if len(text) <= maxReason {
		return err
	}
	return errors.New(strings.ToValidUTF8(text[:maxReason], "") + "… (the function's log has the rest)")
}
