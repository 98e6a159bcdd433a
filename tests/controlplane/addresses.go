package main

import (
	"encoding/binary"
	"errors"
	"net"
)

// addresses hands out pod addresses from 10.244.0.0/16: never loopback or link-local, which Kubernetes
// refuses in EndpointSlices. A freed address comes back only after all others, unless reuse is on.
type addresses struct {
	used  map[string]bool
	next  uint32
	reuse bool
}

const (
	firstAddress = 10<<24 | 244<<16 | 1<<8
	addressCount = 60_000
)

var errNoAddress = errors.New("all pod addresses are in use: delete pods first")

func newAddresses(reuse bool) *addresses {
	return &addresses{used: map[string]bool{}, reuse: reuse}
}

// take returns an address that no pod has.
func (a *addresses) take() (string, error) {
	if a.reuse {
		a.next = 0
	}
	for range addressCount {
		candidate := make(net.IP, 4)
		binary.BigEndian.PutUint32(candidate, firstAddress+a.next)
		a.next = (a.next + 1) % addressCount
		if address := candidate.String(); !a.used[address] {
			a.used[address] = true
			return address, nil
		}
	}
	return "", errNoAddress
}

// keep marks an address that a pod has already.
func (a *addresses) keep(address string) { a.used[address] = true }

// free gives an address back.
func (a *addresses) free(address string) { delete(a.used, address) }
