package replication

import "golang.org/x/sys/unix"

// setReceiveLowWater keeps a reader of the socket asleep until this many bytes have arrived.
// https://man7.org/linux/man-pages/man7/socket.7.html
func setReceiveLowWater(fd uintptr, bytes int) error {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes)
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
