//go:build unix

package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// probe checks a connection without waiting.
type probe struct {
	raw  syscall.RawConn // nil if the connection is no socket
	look func(fd uintptr)
	open bool
}

func newProbe(conn net.Conn) *probe {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	p := &probe{}
	if system, ok := conn.(syscall.Conn); ok {
		p.raw, _ = system.SyscallConn() // sockets have one
	}
	p.look = func(fd uintptr) {
		var first [1]byte
		_, _, err := syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		p.open = errors.Is(err, syscall.EAGAIN)
	}
	return p
}

// isOpen reports whether the peer has neither closed the connection nor sent bytes that answer no
// request.
func (p *probe) isOpen() bool {
	if p.raw == nil {
		return true
	}
	p.open = false
	err := p.raw.Control(p.look)
	return err == nil && p.open
}
