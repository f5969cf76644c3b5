package fakeaws_test

import (
	"context"
	"fmt"
	"log"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// A test starts a server, points the AWS SDK at it, and reads the messages that arrived.
func Example() {
	ctx := context.Background()
	server, err := fakeaws.Start(fakeaws.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	queue, err := server.CreateQueue("orders.fifo", nil)
	if err != nil {
		log.Fatal(err)
	}

	_, err = clientOf(server).SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &queue.URL, MessageBody: aws.String("paid"),
		MessageGroupId: aws.String("4711"), MessageDeduplicationId: aws.String("1"),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range server.Received(queue.ARN) {
		fmt.Println(m.GroupID, m.Body)
	}
	// Output: 4711 paid
}

// A rule of the script fails the first request, and the next one succeeds.
func ExampleServer_Script() {
	ctx := context.Background()
	server, err := fakeaws.Start(fakeaws.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	queue, err := server.CreateQueue("orders", nil)
	if err != nil {
		log.Fatal(err)
	}
	server.Script(fakeaws.Match{Action: "SendMessage", Times: 1}, fakeaws.DenyAccess())

	client := clientOf(server)
	for range 2 {
		_, err := client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &queue.URL, MessageBody: aws.String("paid")})
		fmt.Println("accepted:", err == nil)
	}
	fmt.Println("messages:", server.ReceivedCount(queue.ARN))
	// Output:
	// accepted: false
	// accepted: true
	// messages: 1
}

func clientOf(server *fakeaws.Server) *sqs.Client {
	return sqs.New(sqs.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL()),
		Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
	})
}
