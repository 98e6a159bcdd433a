package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
)

// podNetwork is a network namespace with the pod's address, and the container's command running in it.
type podNetwork struct {
	name    string
	command *exec.Cmd
	done    chan struct{}
}

const bridgeName = "zb-pods"

// newPodNetwork makes the namespace, joins it to the bridge of all pods, and starts the command. It needs
// root and iproute2.
func newPodNetwork(pod *core.Pod, address string) (*podNetwork, error) {
	n := &podNetwork{name: "zb-" + string(pod.UID)[:8], done: make(chan struct{})}
	if err := ensureBridge(); err != nil {
		return nil, err
	}
	outer := "v" + string(pod.UID)[:8]
	steps := []string{
		"ip netns add " + n.name,
		fmt.Sprintf("ip link add %s type veth peer name eth0 netns %s", outer, n.name),
		fmt.Sprintf("ip link set %s master %s up", outer, bridgeName),
		fmt.Sprintf("ip -n %s addr add %s/16 dev eth0", n.name, address),
		fmt.Sprintf("ip -n %s link set eth0 up", n.name),
		fmt.Sprintf("ip -n %s link set lo up", n.name),
		fmt.Sprintf("ip -n %s route add default via 10.244.0.1", n.name),
	}
	if err := runAll(steps); err != nil {
		n.remove()
		return nil, err
	}
	if err := n.run(&pod.Spec.Containers[0]); err != nil {
		n.remove()
		return nil, err
	}
	return n, nil
}

func (n *podNetwork) run(container *core.Container) error {
	arguments := append(append([]string{"netns", "exec", n.name}, container.Command...), container.Args...)
	if len(arguments) == 3 {
		close(n.done)
		return nil
	}
	n.command = exec.Command("ip", arguments...)
	n.command.Stdout, n.command.Stderr = os.Stdout, os.Stderr
	n.command.Env = os.Environ()
	for _, variable := range container.Env {
		n.command.Env = append(n.command.Env, variable.Name+"="+variable.Value)
	}
	if err := n.command.Start(); err != nil {
		return fmt.Errorf("run %v in namespace %s: %w", container.Command, n.name, err)
	}
	go func() {
		n.command.Wait()
		close(n.done)
	}()
	return nil
}

// stop ends the command, by force after grace, and removes the namespace.
func (n *podNetwork) stop(grace time.Duration) {
	if n.command != nil {
		n.command.Process.Signal(syscall.SIGTERM)
		select {
		case <-n.done:
		case <-time.After(grace):
			n.command.Process.Kill()
			<-n.done
		}
	}
	n.remove()
}

func (n *podNetwork) remove() { exec.Command("ip", "netns", "delete", n.name).Run() }

// ensureBridge makes the bridge that joins all pods to this machine, once.
func ensureBridge() error {
	if exec.Command("ip", "link", "show", bridgeName).Run() == nil {
		return nil
	}
	return runAll([]string{
		"ip link add " + bridgeName + " type bridge",
		"ip addr add 10.244.0.1/16 dev " + bridgeName,
		"ip link set " + bridgeName + " up",
	})
}

func runAll(commands []string) error {
	for _, line := range commands {
		words := strings.Fields(line)
		if output, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s (pods in namespaces need root and iproute2)", line, err, strings.TrimSpace(string(output)))
		}
	}
	return nil
}
