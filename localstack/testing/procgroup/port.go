package procgroup

import (
	"fmt"
	"net"
)

// FreePort returns a TCP port of 127.0.0.1 on which no process listens, for a process that has to
// be told its port. Another process may take it in between.
func FreePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
