package replication

import "golang.org/x/sys/unix"

// setReceiveLowWater keeps whoever waits for the socket from being woken before so many bytes have arrived.
// https://man7.org/linux/man-pages/man7/socket.7.html
func setReceiveLowWater(fd uintptr, bytes int) error {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes)
}

// arrived returns how many bytes a read would bring without waiting (FIONREAD, of which TIOCINQ is the other name).
// https://man7.org/linux/man-pages/man7/tcp.7.html
func arrived(fd uintptr) int {
	bytes, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	if err != nil {
		return gatherBytes // the read that follows says why
	}
	return bytes
}
