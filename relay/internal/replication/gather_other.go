//go:build !linux

package replication

import "time"

func shortestRoundTrip(uintptr) time.Duration { return time.Hour }

func setReceiveBuffer(uintptr, int) {}

func unboundReceiveBuffer(uintptr) {}

func setReceiveLowWater(_ uintptr, bytes int) int { return bytes }

// arrived makes every read start at once, because other systems do not gather.
func arrived(uintptr) int { return gatherBytes }
