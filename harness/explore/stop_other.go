//go:build !linux

package explore

// Elsewhere, backends are not stopped: a process is told by its number alone, which is not enough to send it signals.

func canStop(string) bool { return false }

func stopBackend(uint32) bool { return false }

func resumeBackend(uint32) {}
