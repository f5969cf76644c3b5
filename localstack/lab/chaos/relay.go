package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
)

// relay is one process of the relay.
type relay struct {
	name    string // also its access key, which receipts contain
	place   int
	process *procgroup.Process
	log     *relayLog
}

func (r *run) startRelay(name string, place int) (*relay, error) {
	p := &relay{name: name, place: place, log: &relayLog{clock: r.clock}}
	cmd := exec.Command(r.options.Relay, "run")
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"),
		"DATABASE_URL=" + r.links[place].url,
		"RELAY_SLOT=" + r.slot,
		"RELAY_START=" + r.shape.start(),
		"RELAY_WAL_SENDER_TIMEOUT=" + r.plan.SenderTimeout.String(),
		"RELAY_REQUEST_TIMEOUT=" + r.plan.RequestTimeout.String(),
		"RELAY_PARK_AFTER=" + r.plan.ParkAfter.String(),
		"RELAY_LOG_FORMAT=text",
		"RELAY_LISTEN=",
		"RELAY_AWS_CLIENT=" + r.plan.Client,
		"AWS_REGION=us-east-1",
	}, r.routes()...)
	cmd.Env = append(cmd.Env, r.endpoint()...)
	cmd.Env = append(cmd.Env, r.credentials(name)...)
	cmd.Env = append(append(cmd.Env, r.shape.settings...), r.plan.Settings...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	var err error
	p.process, err = procgroup.Start(cmd, procgroup.Orphan{Signal: "KILL"})
	return p, err
}

// endpoint are the settings of the way to the broker.
func (r *run) endpoint() []string {
	if r.secured == nil {
		return []string{"AWS_ENDPOINT_URL=" + r.broker.URL()}
	}
	return []string{"AWS_ENDPOINT_URL=" + r.secured.URL(), "AWS_CA_BUNDLE=" + r.cluster.authority()}
}

func (p *relay) signal(s syscall.Signal) { _ = syscall.Kill(p.process.Pid(), s) }

// kill sends SIGKILL and returns once the process has ended.
func (p *relay) kill() {
	p.signal(syscall.SIGKILL)
	_ = p.process.Stop(syscall.SIGKILL, time.Minute)
}

// stopTimeout exceeds every drain timeout of a plan.
const stopTimeout = 15 * time.Second

// stop ends the process with SIGTERM and reports an unclean end.
func (p *relay) stop() error {
	if err := p.process.Stop(syscall.SIGTERM, stopTimeout); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	switch err := p.process.Err(); {
	case err.Error() == "exit status 0", len(p.log.copy()) == 0: // killed before it handled signals
		return nil
	default:
		return fmt.Errorf("%s did not stop cleanly: %w", p.name, err)
	}
}
