package e2e_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/outbox-relay/outbox-relay/localstack/run/gateway"
	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
)

// migrateFunctions creates the tables of the functions: orders, inbox and shipments.
func (w *testEnv) migrateFunctions() {
	w.t.Helper()
	migrate := exec.Command("go", "run", "../../functions/migrate")
	migrate.Env = append(os.Environ(), "DATABASE_URL="+w.url)
	if output, err := migrate.CombinedOutput(); err != nil {
		w.t.Fatalf("migrate: %v\n%s", err, output)
	}
}

// messagesOf returns the number of messages of a queue, also of those that a consumer works on.
func messagesOf(w *testEnv, queue string) (n int) {
	w.t.Helper()
	names := []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages,
		types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	}
	got, err := sqs.NewFromConfig(messaging.Config(w.broker.URL())).GetQueueAttributes(w.t.Context(),
		&sqs.GetQueueAttributesInput{QueueUrl: &queue, AttributeNames: names})
	w.must(err)
	for _, name := range names {
		count, err := strconv.Atoi(got.Attributes[string(name)])
		w.must(err)
		n += count
	}
	return n
}

// createMessaging creates the topic and the queues of infra's templates.
func (w *testEnv) createMessaging() messaging.Outputs {
	w.t.Helper()
	var templates messaging.Templates
	for name, text := range map[string]*[]byte{"messaging": &templates.Messaging, "consumer": &templates.Consumer} {
		var err error
		*text, err = os.ReadFile("../../infra/" + name + ".yaml")
		w.must(err)
	}
	outputs, err := messaging.Create(w.t.Context(), w.broker.URL(), templates)
	w.must(err)
	return outputs
}

// withShipments returns options with which createshipment reads its queue.
func withShipments(w *testEnv, outputs messaging.Outputs) gateway.Options {
	return gateway.Options{
		Queues: map[string]string{"Shipments.Outputs.QueueArn": outputs.Shipments.QueueArn},
		Broker: messaging.Config(w.broker.URL()),
	}
}

// functions are the running functions of this project.
type functions struct{ url, dir string }

// startFunctions runs the functions from their own binaries. options may add queues and variables.
func startFunctions(t *testing.T, w *testEnv, options gateway.Options) functions {
	t.Helper()
	dir := t.TempDir()
	template := filepath.Join("..", "..", "template.yaml")
	var log buffer
	w.must(gateway.Build(t.Context(), template, dir, &log))
	w.migrateFunctions()
	options.Addr, options.Template, options.BuildDir = "127.0.0.1:0", template, dir
	options.Concurrency, options.Log = 8, &log
	env := map[string]string{"DATABASE_URL": w.url, "DATABASE_AUTH": "password"}
	maps.Copy(env, options.Env)
	options.Env = env
	g, err := gateway.Start(t.Context(), options)
	w.must(err)
	t.Cleanup(func() {
		w.must(g.Close())
		if t.Failed() {
			t.Logf("log of the functions:\n%s", tail(log.String(), 20))
		}
	})
	return functions{url: g.URL(), dir: dir}
}
