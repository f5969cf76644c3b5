package claimcheck_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/outbox-relay/outbox-relay/relay/internal/claimcheck"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/sqs"
)

func TestAmazonsClientReadsFromFakeAWS(t *testing.T) {
	t.Parallel()
	checkExtendedClient(t, start(t).URL())
}

func TestAmazonsClientReadsFromLocalStack(t *testing.T) {
	t.Parallel()
	endpoint := os.Getenv("LOCALSTACK_ENDPOINT")
	if endpoint == "" {
		t.Skip("LOCALSTACK_ENDPOINT is not set, for example to http://127.0.0.1:4566")
	}
	checkExtendedClient(t, endpoint)
}

// checkExtendedClient has Amazon's Extended Client for Python read a message that is too long for
// its queue.
func checkExtendedClient(t *testing.T, endpoint string) {
	t.Helper()
	python := newPython(t)
	name := "claimcheck-" + strings.ToLower(t.Name()[len("TestAmazonsClientReadsFrom"):])
	storage := s3.NewFromConfig(config(endpoint), func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := storage.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	queues := awssqs.NewFromConfig(config(endpoint))
	queue, err := queues.CreateQueue(t.Context(), &awssqs.CreateQueueInput{
		QueueName: aws.String(name), Attributes: map[string]string{"MaximumMessageSize": "65536"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = queues.DeleteQueue(context.Background(), &awssqs.DeleteQueueInput{QueueUrl: queue.QueueUrl})
	})
	m := message(100_000, 9)
	publish(t, endpoint, *queue.QueueUrl, name, m)
	var received struct {
		Body       string
		Attributes map[string]string
	}
	if err := json.Unmarshal(python.run(endpoint, "receive.py", *queue.QueueUrl), &received); err != nil {
		t.Fatal(err)
	}
	if received.Body != m.Body || len(received.Attributes) != 9 || received.Attributes["a8"] != "x" {
		t.Errorf("%d bytes, attributes %v", len(received.Body), received.Attributes)
	}
	key := fmt.Sprintf("%s/%.8x", m.EventID, sha256.Sum256([]byte(m.Body)))
	if _, err := storage.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &name, Key: &key}); err != nil {
		t.Errorf("the object is gone: %v", err)
	}
}

func publish(t *testing.T, endpoint, queueURL, bucket string, m *sink.Message) {
	t.Helper()
	destination, err := sink.ParseDestination(queueURL)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := sqs.Open(t.Context(), config(endpoint), destination, sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wrapped := claimcheck.Wrap(opened, claimcheck.New(config(endpoint), bucket))
	prepared, failed := wrapped.Prepare(t.Context(), []*sink.Message{m})
	if failed != nil {
		t.Fatal(failed)
	}
	if results, err := wrapped.Publish(t.Context(), prepared); err != nil || results[0].Err != nil {
		t.Fatal(results, err)
	}
}

// python is an environment of Python with the packages of testdata/requirements.txt.
type python struct {
	t   *testing.T
	dir string
}

// newPython creates the environment. CI has Python, so the test fails there without it.
func newPython(t *testing.T) python {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil && os.Getenv("CI") == "" {
		t.Skip("AMAZON'S EXTENDED CLIENT IS NOT TESTED: python3 is not installed")
	}
	p := python{t, t.TempDir()}
	p.must(exec.CommandContext(t.Context(), "python3", "-m", "venv", p.dir))
	p.must(exec.CommandContext(t.Context(), filepath.Join(p.dir, "bin", "pip"), "install", "--quiet",
		"--disable-pip-version-check", "--requirement", filepath.Join("testdata", "requirements.txt")))
	return p
}

// run runs a script of testdata with an endpoint of AWS, and returns its output.
func (p python) run(endpoint, script string, arguments ...string) []byte {
	p.t.Helper()
	command := exec.CommandContext(p.t.Context(), filepath.Join(p.dir, "bin", "python"),
		append([]string{filepath.Join("testdata", script)}, arguments...)...)
	command.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+endpoint, "AWS_REGION=us-east-1",
		"AWS_DEFAULT_REGION=us-east-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test")
	return p.must(command)
}

func (p python) must(command *exec.Cmd) []byte {
	p.t.Helper()
	var complaints strings.Builder
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		p.t.Fatalf("%s: %v\n%s%s", command, err, output, complaints.String())
	}
	return output
}
