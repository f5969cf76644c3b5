// Command faulty is a Lambda function that fails in the way that the path of its request names.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

func main() {
	if _, err := os.Stat(os.Getenv("BROKEN")); err == nil {
		fmt.Fprintln(os.Stderr, "faulty: SETTING is empty")
		os.Exit(1)
	}
	lambda.Start(handle)
}

func handle(ctx context.Context, event json.RawMessage) (json.RawMessage, error) {
	var request events.APIGatewayProxyRequest
	if err := json.Unmarshal(event, &request); err != nil {
		return nil, err
	}
	switch request.PathParameters["fault"] {
	case "break":
		if err := os.WriteFile(os.Getenv("BROKEN"), nil, 0o600); err != nil {
			return nil, err
		}
		os.Exit(3)
	case "exit":
		os.Exit(3)
	case "panic":
		panic("on request")
	case "error":
		return nil, errors.New("on request")
	case "sleep":
		time.Sleep(time.Minute)
	case "nap":
		fmt.Println("napping")
		time.Sleep(500 * time.Millisecond)
	case "answer":
		return json.RawMessage(request.Body), nil
	case "large":
		return json.Marshal(events.APIGatewayProxyResponse{StatusCode: 200, Body: strings.Repeat("x", 7<<20)})
	}
	return echo(ctx, event)
}

// echo answers with the event, the Lambda context and the environment.
func echo(ctx context.Context, event json.RawMessage) (json.RawMessage, error) {
	invocation, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	body, err := json.Marshal(map[string]any{
		"event": event, "pid": os.Getpid(), "left": time.Until(deadline).Seconds(), "trace": ctx.Value("x-amzn-trace-id"),
		"arn": invocation.InvokedFunctionArn, "invocation": invocation.AwsRequestID, "env": os.Environ(),
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(events.APIGatewayProxyResponse{
		StatusCode: 200, Body: string(body),
		Headers:           map[string]string{"Content-Type": "application/json", "X-One": "1"},
		MultiValueHeaders: map[string][]string{"x-many": {"1", "2"}},
	})
}
