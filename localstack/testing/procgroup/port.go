package procgroup

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// firstPort and lastPort enclose the ports that FreePort returns. Systems choose higher ports by
// default where a program names none, so no listener and no connection gets one of these by chance.
const firstPort, lastPort = 10_000, 32_000

// portAttempts bounds how many ports FreePort tries.
const portAttempts = 1000

// portsTried counts the ports that this process has tried. It begins at a random number, so that
// processes which run at the same time try different ports.
var portsTried atomic.Uint32

func init() { portsTried.Store(rand.Uint32N(lastPort - firstPort)) }

// FreePort returns a TCP port of 127.0.0.1 on which no process listens, for a process that has to
// be told its port. A process gets each port once.
func FreePort() (int, error) {
	var err error
	for range portAttempts {
		port := firstPort + int(portsTried.Add(1)%(lastPort-firstPort))
		var listener net.Listener
		if listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}
