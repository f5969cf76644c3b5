// Command getorder is the Lambda function behind GET /orders/{id}.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/outbox-relay/outbox-relay/functions/internal/api"
	"github.com/outbox-relay/outbox-relay/functions/internal/function"
)

func main() {
	if err := function.Run(context.Background(), os.Getenv, os.Stdout, api.GetOrder); err != nil {
		fmt.Fprintln(os.Stderr, "getorder:", err)
		os.Exit(1)
	}
}
