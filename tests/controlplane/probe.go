package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// streak turns single probe results into readiness, with the thresholds of the probe.
type streak struct {
	success, failure int
	ready            bool
}

// observe takes one result and says whether the container is ready.
func (s *streak) observe(ok bool, probe *core.Probe) bool {
	if ok {
		s.success, s.failure = s.success+1, 0
		if s.success >= max(1, int(probe.SuccessThreshold)) {
			s.ready = true
		}
	} else {
		s.success, s.failure = 0, s.failure+1
		if s.failure >= max(1, int(probe.FailureThreshold)) {
			s.ready = false
		}
	}
	return s.ready
}

// runProbe probes address until the context ends and reports each change of readiness.
func runProbe(ctx context.Context, probe *core.Probe, container *core.Container, address string, report func(ready bool)) {
	if !sleep(ctx, time.Duration(probe.InitialDelaySeconds)*time.Second) {
		return
	}
	var state streak
	reported := false
	for {
		ready := state.observe(probeOnce(ctx, probe, container, address) == nil, probe)
		if ready != reported {
			reported = ready
			report(ready)
		}
		if !sleep(ctx, max(time.Second, time.Duration(probe.PeriodSeconds)*time.Second)) {
			return
		}
	}
}

func probeOnce(ctx context.Context, probe *core.Probe, container *core.Container, address string) error {
	ctx, cancel := context.WithTimeout(ctx, max(time.Second, time.Duration(probe.TimeoutSeconds)*time.Second))
	defer cancel()
	switch {
	case probe.TCPSocket != nil:
		return probeTCP(ctx, net.JoinHostPort(address, portOf(probe.TCPSocket.Port, container)))
	case probe.HTTPGet != nil:
		host := net.JoinHostPort(address, portOf(probe.HTTPGet.Port, container))
		return probeHTTP(ctx, "http://"+host+probe.HTTPGet.Path)
	default:
		return fmt.Errorf("the stand-in probes tcpSocket and httpGet only")
	}
}

func probeTCP(ctx context.Context, address string) error {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err == nil {
		connection.Close()
	}
	return err
}

func probeHTTP(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}

// portOf resolves a named port of the container; a number stands for itself.
func portOf(port intstr.IntOrString, container *core.Container) string {
	for _, named := range container.Ports {
		if port.Type == intstr.String && named.Name == port.StrVal {
			return fmt.Sprint(named.ContainerPort)
		}
	}
	return port.String()
}

// sleep waits and says whether the context still lives.
func sleep(ctx context.Context, duration time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(duration):
		return true
	}
}
