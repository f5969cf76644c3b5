package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// healthcheckTimeout is below the shortest timeout of a container's health check, 2 s on ECS.
const healthcheckTimeout = 1500 * time.Millisecond

type healthcheckCommand struct {
	Listen string `env:"RELAY_LISTEN" default:"127.0.0.1:9464" help:"Address on which the relay serves its probes."`
	Probe  string `default:"livez" enum:"livez,readyz" help:"The probe: livez (the relay is alive) or readyz (the relay streams or stands by)."`
}

// Run asks the relay on this machine for its health.
func (c *healthcheckCommand) Run(ctx context.Context, w io.Writer) error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("RELAY_LISTEN %q: %w", c.Listen, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/"+c.Probe,
		nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("no relay answers on %s: %w", c.Listen, err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(w, io.LimitReader(response.Body, 64<<10)); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", c.Probe, response.Status)
	}
	return nil
}
