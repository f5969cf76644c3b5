package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
)

// TestBroker is a LocalStack for tests, separate from the stack.
type TestBroker struct {
	Endpoint string
	process  *procgroup.Process
	data     string
}

// StartTestBroker starts LocalStack on a free port, in a container or otherwise as a process. The
// error explains why both fail.
func (s *Stack) StartTestBroker(ctx context.Context) (*TestBroker, error) {
	inContainer, containerErr := s.startTestBroker(ctx, s.brokerContainer)
	if containerErr == nil {
		return inContainer, nil
	}
	onHost, hostErr := s.startTestBroker(ctx, s.brokerProcess)
	if hostErr == nil {
		return onHost, nil
	}
	return nil, fmt.Errorf("in a container: %w; on the host: %w", containerErr, hostErr)
}

type startBroker func(ctx context.Context, port int, data string) (*procgroup.Process, error)

func (s *Stack) startTestBroker(ctx context.Context, start startBroker) (*TestBroker, error) {
	port, err := procgroup.FreePort()
	if err != nil {
		return nil, err
	}
	data, err := os.MkdirTemp("", "localstack-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for LocalStack: %w", err)
	}
	process, err := start(ctx, port, data)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(data))
	}
	broker := &TestBroker{Endpoint: "http://" + local(port), process: process, data: data}
	if err := broker.await(ctx, &Stack{Settings: Settings{Ports: Ports{Broker: port}}}); err != nil {
		return nil, errors.Join(err, broker.Stop())
	}
	return broker, nil
}

func (s *Stack) brokerContainer(ctx context.Context, port int, _ string) (*procgroup.Process, error) {
	c := &compose{Stack: s}
	if err := c.check(ctx); err != nil {
		return nil, err
	}
	if err := c.pull(ctx, localStackImage); err != nil {
		return nil, err
	}
	args := []string{"run", "--rm", "--publish", local(port) + ":4566"}
	for _, variable := range localStackEnvironment(port) {
		args = append(args, "--env", variable)
	}
	return startLogged(exec.Command("docker", append(args, localStackImage)...), s.log("test-broker"))
}

func (s *Stack) brokerProcess(ctx context.Context, port int, data string) (*procgroup.Process, error) {
	if err := s.installLocalStack(ctx); err != nil {
		return nil, err
	}
	return s.startLocalStack(port, data, s.log("test-broker"))
}

func (b *TestBroker) await(ctx context.Context, s *Stack) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := s.brokerReady(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-b.process.Done():
			return fmt.Errorf("LocalStack ended: %w", b.process.Err())
		case <-ctx.Done():
			return fmt.Errorf("LocalStack does not answer: %w", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Stop ends LocalStack and removes its data.
func (b *TestBroker) Stop() error {
	return errors.Join(b.process.Stop(syscall.SIGTERM, 30*time.Second), os.RemoveAll(b.data))
}
