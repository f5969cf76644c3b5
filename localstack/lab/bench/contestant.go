package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
)

const (
	// patience exceeds the duration of every measurement.
	patience = 10 * time.Minute
	// pollInterval is the interval between two requests for the progress of a measurement.
	pollInterval = 20 * time.Millisecond
)

// destination is a topic or a queue of a [Broker].
type destination string

const (
	queue     destination = "SQS"
	topic     destination = "SNS"
	fifoQueue destination = "SQS FIFO"
	fifoTopic destination = "SNS FIFO"
)

func (d destination) arn() string {
	return map[destination]string{
		queue: "arn:aws:sqs:us-east-1:000000000000:bench", fifoQueue: "arn:aws:sqs:us-east-1:000000000000:bench.fifo",
		topic: "arn:aws:sns:us-east-1:000000000000:bench", fifoTopic: "arn:aws:sns:us-east-1:000000000000:bench.fifo",
	}[d]
}

// broker is a running [Broker].
type broker struct {
	process *procgroup.Process
	url     string
}

func (r *run) startBroker(l link, options BrokerOptions) (*broker, error) {
	scheme := "http://"
	if l == secured {
		scheme, options.Certificate, options.Key = "https://", r.tls.authority, r.tls.key
	}
	cmd := r.Self(options)
	address, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	process, err := procgroup.Start(cmd, procgroup.Orphan{})
	if err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	line := make([]byte, 64)
	n, err := address.Read(line)
	if err != nil {
		return nil, fmt.Errorf("the broker did not start: %w", err)
	}
	return &broker{process, scheme + strings.TrimSpace(string(line[:n]))}, nil
}

func (b *broker) stop() { _ = b.process.Stop(syscall.SIGTERM, time.Second) }

func (b *broker) get(path string, value any) error {
	response, err := client.Get(b.url + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(value)
}

// awaitEvents waits until the broker has received that many events, and returns its counts.
func (b *broker) awaitEvents(ctx context.Context, events int) (c Counts, err error) {
	for deadline := time.Now().Add(patience); ; {
		if err := b.get("/counts", &c); err != nil {
			return c, err
		}
		if c.Distinct >= events {
			return c, nil
		}
		if time.Now().After(deadline) {
			return c, fmt.Errorf("%d of %d events have arrived within %v", c.Distinct, events, patience)
		}
		select {
		case <-ctx.Done():
			return c, context.Cause(ctx)
		case <-time.After(pollInterval):
		}
	}
}

// relay is a running relay.
type relay struct {
	process *procgroup.Process
	listen  string
	log     string
}

// startRelay starts a relay that publishes backlog b to destination d of broker to.
func (r *run) startRelay(binary string, b *backlog, l link, slot string, d destination, to *broker,
	settings ...string,
) (*relay, error) {
	port, err := procgroup.FreePort()
	if err != nil {
		return nil, err
	}
	p := &relay{listen: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), log: filepath.Join(r.Dir, "relay.log")}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(binary, "run")
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + b.url(l), "RELAY_SLOT=" + slot, "RELAY_START=now",
		"RELAY_DESTINATION=" + d.arn(), "RELAY_LISTEN=" + p.listen,
		"AWS_ENDPOINT_URL=" + to.url, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=bench", "AWS_SECRET_ACCESS_KEY=bench",
		"AWS_CA_BUNDLE=" + r.tls.authority,
	}, settings...)
	cmd.Stdout, cmd.Stderr = log, log
	p.process, err = procgroup.Start(cmd, procgroup.Orphan{})
	return p, err
}

// whileItRuns returns a context that ends with the relay, so that no measurement waits for a relay
// that has ended.
func (p *relay) whileItRuns(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-p.process.Done():
			cancel(p.ended())
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// ended returns the reason for the end of the relay, with the end of its log.
func (p *relay) ended() error {
	log, _ := os.ReadFile(p.log)
	return fmt.Errorf("the relay ended: %w\n%s", p.process.Err(), log[max(0, len(log)-2000):])
}

func (p *relay) stop() error {
	if err := p.process.Stop(syscall.SIGTERM, time.Minute); err != nil {
		return err
	}
	if p.process.Err().Error() != "exit status 0" {
		return p.ended()
	}
	return nil
}

// allocations returns the number of allocations of the relay so far.
func (p *relay) allocations() (float64, error) { return p.metric("go_memstats_mallocs_total ") }

// metric returns the value of the first metric whose line begins with this text.
func (p *relay) metric(begin string) (float64, error) {
	response, err := http.Get("http://" + p.listen + "/metrics")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), "\n"+begin)
	line, _, _ := strings.Cut(after, "\n")
	return strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
}
