package stack

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
)

// composeProject is the project name in compose.yaml.
const composeProject = "outbox-relay"

const (
	engineTimeout = 10 * time.Second // for queries; an engine that hangs counts as absent
	workTimeout   = 3 * time.Minute  // to start, stop and build
	pullTimeout   = 20 * time.Minute
)

const (
	postgresImage   = "postgres:17"
	localStackImage = "localstack/localstack:" + LocalStackVersion
)

// compose runs the stack in containers.
type compose struct {
	*Stack
	destination string
}

func (c *compose) name() Way { return Compose }

func (c *compose) check(ctx context.Context) error {
	if _, err := exec.LookPath("docker"); err != nil {
		return errors.New("there is no docker command")
	}
	// docker info with a format ends with an error of the format if the engine refuses.
	if _, err := run(ctx, engineTimeout, "docker", "ps", "--quiet"); err != nil {
		return engineError(err)
	}
	if _, err := run(ctx, engineTimeout, "docker", "compose", "version"); err != nil {
		return fmt.Errorf("docker has no compose command: %w", err)
	}
	return nil
}

// engineError adds the cure to an error of the container engine. Docker has no code for the two
// usual ones.
func engineError(err error) error {
	switch text := strings.ToLower(err.Error()); {
	case strings.Contains(text, "permission denied"):
		return fmt.Errorf("this user may not use the container engine: add the user to the group docker (sudo usermod "+
			"-aG docker $USER) and log in again: %w", err)
	case strings.Contains(text, "cannot connect"), strings.Contains(text, "failed to connect"):
		return fmt.Errorf("the container engine does not run: start Docker, or set DOCKER_HOST: %w", err)
	}
	return fmt.Errorf("the container engine does not work: %w", err)
}

func (c *compose) prepare(ctx context.Context) error {
	if err := c.pull(ctx, postgresImage, localStackImage); err != nil {
		return err
	}
	if err := c.buildPrograms(ctx); err != nil {
		return err
	}
	return c.BuildImage(ctx, Image{})
}

// pull fetches the missing images.
func (c *compose) pull(ctx context.Context, images ...string) error {
	for _, image := range images {
		if _, err := run(ctx, engineTimeout, "docker", "image", "inspect", "--format", "{{.Id}}", image); err == nil {
			continue
		}
		if err := c.pullImage(ctx, image); err != nil {
			return fmt.Errorf("fetch the image %s: %w", image, err)
		}
	}
	return nil
}

// pullImage fetches an image with docker's own progress display.
func (c *compose) pullImage(ctx context.Context, image string) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	c.begin("fetching the image %s (usually a minute)", image)
	cmd := exec.CommandContext(ctx, "docker", "pull", image)
	cmd.Stdout, cmd.Stderr = c.Out, c.Out
	return cmd.Run()
}

func (c *compose) up(ctx context.Context) error {
	state := State{
		Way: Compose, Started: time.Now().UTC(), Ports: c.Ports, Broker: "LocalStack " + LocalStackVersion,
	}
	if err := c.save(state); err != nil { // before anything runs, so that down finds it
		return err
	}
	outputs, err := c.bringUp(ctx, c)
	if err != nil && Interrupted(ctx) {
		return errors.New("interrupted; what was started still runs: make localstack-down stops it")
	}
	if err != nil {
		return err
	}
	state.Ready, state.Outputs = true, outputs
	return c.save(state)
}

func (c *compose) startInfrastructure(ctx context.Context) (string, error) {
	c.begin("starting containers of Postgres and LocalStack (usually 5 seconds)")
	if err := c.compose(ctx, "up", "--detach", "postgres", "localstack"); err != nil {
		return "", err
	}
	return fmt.Sprintf("postgres://postgres:postgres@%s/postgres?sslmode=disable", local(c.Ports.Postgres)), nil
}

func (c *compose) deploy(ctx context.Context, templates messaging.Templates) (messaging.Outputs, error) {
	return messaging.Deploy(ctx, c.Ports.Endpoint(), templates)
}

func (c *compose) startRelay(ctx context.Context, destination string) error {
	c.begin("starting the container of the relay (usually 2 seconds)")
	c.destination = destination
	if err := c.compose(ctx, "up", "--detach", "relay"); err != nil {
		return err
	}
	current, err := c.runsProgram(ctx)
	if err == nil && !current {
		err = errors.New("the container of the relay holds another program than this checkout's, because the image " +
			RelayImage + " changed meanwhile: run make localstack-down, then make localstack-up")
	}
	return err
}

// runsProgram reports whether the relay's container holds the last built program.
func (c *compose) runsProgram(ctx context.Context) (bool, error) {
	arch, err := engineArch(ctx)
	if err != nil {
		return false, err
	}
	program, err := os.ReadFile(c.imageBinary(arch))
	if err != nil {
		return false, fmt.Errorf("read the relay: %w", err)
	}
	id, err := c.container(ctx, "relay")
	if err != nil {
		return false, err
	}
	held, err := programIn(ctx, id)
	return held == sha256.Sum256(program), err
}

// outdated reports whether the relay's container holds another program than the current source
// builds.
func (c *compose) outdated(ctx context.Context) (bool, error) {
	arch, err := engineArch(ctx)
	if err != nil {
		return false, err
	}
	if _, err := c.BuildImageBinary(ctx, Image{Arch: arch}); err != nil {
		return false, err
	}
	current, err := c.runsProgram(ctx)
	return !current, err
}

func (c *compose) failed(ctx context.Context, part string) error {
	id, err := c.container(ctx, part)
	if err != nil {
		return err
	}
	// The engine restarts a container that failed, but not one that exited with status 0.
	seen, err := run(ctx, engineTimeout, "docker", "inspect", "--format", "{{.State.Status}} {{.RestartCount}}", id)
	if err != nil {
		return err
	}
	var status string
	var restarts int
	if _, err := fmt.Sscan(seen, &status, &restarts); err != nil {
		return fmt.Errorf("look at the container of the %s: %w", part, err)
	}
	if status != "exited" && restarts < hopelessAfter {
		return nil
	}
	log, err := run(ctx, engineTimeout, "docker", "logs", "--tail", "5", id)
	return errors.Join(fmt.Errorf("its container ended again and again: %s", log), err)
}

// container returns the container id of a part.
func (c *compose) container(ctx context.Context, part string) (string, error) {
	id, err := runCommand(ctx, engineTimeout, c.command("ps", "--all", "--quiet", serviceOf(part)))
	if err == nil && id == "" {
		err = fmt.Errorf("there is no container of the %s", part)
	}
	return id, err
}

func serviceOf(part string) string {
	if part == "broker" {
		return "localstack"
	}
	return part
}

func (c *compose) down(ctx context.Context, state State) error {
	if err := c.ours(ctx); err != nil {
		return err
	}
	c.Ports = state.Ports
	c.begin("stopping the containers (usually 15 seconds)")
	return c.compose(ctx, "down", "--timeout", "30")
}

func (c *compose) logs(ctx context.Context, request LogRequest) error {
	id, err := c.container(ctx, request.Part)
	if err != nil {
		return err
	}
	args := []string{"logs", "--tail", strconv.Itoa(request.Lines), id}
	if request.Follow {
		args = append(args, "--follow")
	}
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdout, cmd.Stderr = request.Out, request.Out
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("docker logs: %w", err)
	}
	return nil
}

func (c *compose) compose(ctx context.Context, args ...string) error {
	_, err := runCommand(ctx, workTimeout, c.command(args...))
	return err
}

// command is a docker compose command with the environment of compose.yaml.
func (c *compose) command(args ...string) *exec.Cmd {
	all := []string{
		"compose", "--ansi", "never", "--progress", "plain", "--project-name", composeProject, "--file",
		c.Root + "/localstack/compose.yaml",
	}
	cmd := exec.Command("docker", append(all, args...)...)
	cmd.Env = append(os.Environ(),
		"POSTGRES_PORT="+strconv.Itoa(c.Ports.Postgres),
		"BROKER_PORT="+strconv.Itoa(c.Ports.Broker),
		"RELAY_PORT="+strconv.Itoa(c.Ports.Relay),
		"LOCAL_DIR="+c.Dir,
		"POSTGRES_VOLUME="+c.volume(),
	)
	if c.destination != "" {
		cmd.Env = append(cmd.Env, "RELAY_DESTINATION="+c.destination)
	}
	return cmd
}
