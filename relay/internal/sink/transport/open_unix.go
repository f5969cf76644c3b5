//go:build unix

package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// probe looks at a connection without waiting.
type probe struct {
	raw  syscall.RawConn // nil if there is nothing to look at
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

// isOpen reports whether the peer has neither closed the connection nor said anything that nobody asked for.
func (p *probe) isOpen() bool {
	if p.raw == nil {
		return true
	}
	p.open = false
	err := p.raw.Control(p.look)
	return err == nil && p.open
}
