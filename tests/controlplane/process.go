package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one program of the control plane that runs by itself: a pid file and a log below dir.
type process struct {
	name string
	dir  string
}

// order is how programs start; they stop in reverse.
var order = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kubelet-stand-in"}

// start runs the program of that name from this binary, detached from the caller's terminal.
func (p process) start(args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(p.log())
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(self, append([]string{p.name}, args...)...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	go command.Wait() // Reaps it if it dies while `up` still runs.
	return os.WriteFile(p.pidFile(), []byte(strconv.Itoa(command.Process.Pid)), 0o600)
}

// pid returns the process's id if it runs and really is this program; a reused id is not.
func (p process) pid() (int, bool) {
	text, err := os.ReadFile(p.pidFile())
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, false
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return 0, false
	}
	arguments := bytes.Split(command, []byte{0})
	return pid, len(arguments) > 1 && string(arguments[1]) == p.name
}

// stop asks, waits, and then insists. A process that is gone is no error.
func (p process) stop(grace time.Duration) error {
	pid, running := p.pid()
	if !running {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop %s (pid %d): %w", p.name, pid, err)
	}
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, running := p.pid(); !running {
			return nil
		}
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %s (pid %d): %w", p.name, pid, err)
	}
	return nil
}

// memory is the process's resident memory now and at its peak, in MiB.
func (p process) memory() (resident, peak int, ok bool) {
	pid, running := p.pid()
	if !running {
		return 0, 0, false
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, false
	}
	for _, line := range strings.Split(string(status), "\n") {
		var kib int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			resident = kib / 1024
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			peak = kib / 1024
		}
	}
	return resident, peak, true
}

// tail is the end of the log, for an error message.
func (p process) tail() string {
	log, err := os.ReadFile(p.log())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

func (p process) log() string     { return filepath.Join(p.dir, p.name+".log") }
func (p process) pidFile() string { return filepath.Join(p.dir, p.name+".pid") }
