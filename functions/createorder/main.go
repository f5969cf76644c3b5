// Command createorder is the Lambda function behind POST /orders.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/outbox-relay/outbox-relay/functions/internal/api"
	"github.com/outbox-relay/outbox-relay/functions/internal/function"
)

func main() {
	if err := function.Run(context.Background(), os.Getenv, os.Stdout, api.CreateOrder); err != nil {
		fmt.Fprintln(os.Stderr, "createorder:", err)
		os.Exit(1)
	}
}
