package replication

import (
	"time"

	"golang.org/x/sys/unix"
)

// shortestRoundTrip returns the shortest round trip to the other end so far.
func shortestRoundTrip(fd uintptr) time.Duration {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return time.Hour
	}
	return time.Duration(info.Min_rtt) * time.Microsecond
}

// setReceiveBuffer sets the receive buffer and ends its growth. Linux doubles bytes, for its own
// overhead.
// https://man7.org/linux/man-pages/man7/socket.7.html
func setReceiveBuffer(fd uintptr, bytes int) {
	_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
}

// unboundReceiveBuffer lets the receive buffer grow again. Linux can do so since version 5.14.
// Older versions offer a window of half of the buffer, which leaves room for small segments.
// https://github.com/torvalds/linux/commit/04190bf8944d
func unboundReceiveBuffer(fd uintptr) {
	_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BUF_LOCK, 0)
}

// setReceiveLowWater keeps a reader of the socket asleep until this many bytes have arrived. It
// returns the number that the kernel waits for: Linux makes the receive buffer large enough for
// bytes, or else lowers the number to half of the largest buffer that the socket may have.
// https://man7.org/linux/man-pages/man7/socket.7.html
func setReceiveLowWater(fd uintptr, bytes int) int {
	_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes)
	effective, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT)
	if err != nil || effective <= 1 { // without the option a read is woken more often, and waits for as many bytes
		return bytes
	}
	return effective
}

// arrived returns the number of bytes that a read would return without waiting. TIOCINQ is another
// name of FIONREAD.
// https://man7.org/linux/man-pages/man7/tcp.7.html
func arrived(fd uintptr) int {
	bytes, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	if err != nil {
		return gatherBytes // the following read returns the reason
	}
	return bytes
}
