package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/cfn"

	"github.com/outbox-relay/outbox-relay/functions/internal/budget"
)

const (
	// resourceID is the permanent id of the custom resource. If it changed, CloudFormation would
	// delete the resource with the old id.
	resourceID = "schema"
	// answerMargin is the part of the function's timeout that is reserved for the answer. Without
	// an answer CloudFormation waits for an hour.
	answerMargin = 10 * time.Second
	// maxReason keeps the answer below the 4096 bytes that CloudFormation reads.
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
	maxReason = 2000
)

// handler serves two kinds of events: those of a CloudFormation custom resource, which it answers
// at their ResponseURL, and direct invocations, which return the versions.
func handler(migrate func(context.Context) (versions, error)) func(context.Context, cfn.Event) (any, error) {
	answer := cfn.LambdaWrap(func(ctx context.Context, event cfn.Event) (string, map[string]any, error) {
		if event.RequestType == cfn.RequestDelete {
			return resourceID, nil, nil // deleting the stack leaves the tables to their owner
		}
		working, cancel := budget.Within(ctx, answerMargin)
		defer cancel()
		v, err := migrate(working)
		if err == nil && len(v.Left) > 0 {
			err = fmt.Errorf("functions and relay cannot log in: run as a privileged role %s; then deploy "+
				"again", strings.Join(v.Left, "; "))
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
		_, err := answer(ctx, event) // an error means that the answer did not arrive, and makes Lambda retry
		return nil, err
	}
}

// data returns the attributes of the custom resource for !GetAtt.
func (v versions) data() map[string]any {
	return map[string]any{
		"OutboxVersion":    strconv.Itoa(int(v.Outbox.To)),
		"OrdersVersion":    strconv.Itoa(int(v.Orders.To)),
		"InboxVersion":     strconv.Itoa(int(v.Inbox.To)),
		"ShipmentsVersion": strconv.Itoa(int(v.Shipments.To)),
	}
}

// reason returns the reason that the stack's events show for the failed resource.
func reason(err error) error {
	text := err.Error()
	if len(text) <= maxReason {
		return err
	}
	return errors.New(strings.ToValidUTF8(text[:maxReason], "") + "… (the function's log has the rest)")
}
