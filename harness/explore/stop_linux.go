package explore

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

// canStop reports whether the backends of a provider's servers are processes of this machine.
func canStop(provider string) bool { return provider == "local" || provider == "embedded" }

// stopBackend keeps a backend from going on. It returns false if it is not one that we may stop.
func stopBackend(pid uint32) bool {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && bytes.HasPrefix(name, []byte("postgres")) && syscall.Kill(int(pid), syscall.SIGSTOP) == nil
}

// resumeBackend lets a backend go on.
func resumeBackend(pid uint32) { _ = syscall.Kill(int(pid), syscall.SIGCONT) }
