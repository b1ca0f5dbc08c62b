//go:build unix

package local

import (
	"errors"
	"fmt"
	"os"
	osuser "os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// account is another user, to run programs as. Nil is ourselves.
type account struct {
	name     string
	uid, gid int
}

// unprivileged returns who runs the server: Postgres refuses to run as root.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := osuser.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(found.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(found.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return &account{name: name, uid: int(uid), gid: int(gid)}, nil
		}
	}
	return nil, errors.New("and there is no user postgres or nobody to do it")
}

// attributes are those of a process of the account, in a session of its own: what is typed at our terminal does not reach it.
func (a *account) attributes() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setsid: true}
	if a != nil {
		attributes.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attributes
}

// own hands a file of ours to the account.
func (a *account) own(file *os.File) error {
	if a == nil {
		return nil
	}
	if err := file.Chown(a.uid, a.gid); err != nil {
		return fmt.Errorf("handing it to user %s: %w", a.name, err)
	}
	return nil
}

// ownDir hands a directory of ours to the account.
func (a *account) ownDir(dir *os.Root) error {
	file, err := dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(a.own(file), file.Close())
}

// environment is ours without what would change how Postgres behaves. With TZ, initdb need not look for the time zone of the machine.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "PG") || strings.HasPrefix(entry, "LC_") || strings.HasPrefix(entry, "LANG") || strings.HasPrefix(entry, "TZ=")
	})
	return append(env, "LC_ALL=C", "TZ=UTC")
}
