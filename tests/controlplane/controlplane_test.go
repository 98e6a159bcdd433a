package main

import (
	"testing"

	core "k8s.io/api/core/v1"
)

func TestAddressesCycleUnlessReuseIsOn(t *testing.T) {
	for _, c := range []struct {
		reuse bool
		again string
	}{{false, "10.244.1.2"}, {true, "10.244.1.0"}} {
		pool := newAddresses(c.reuse)
		first, _ := pool.take()
		second, _ := pool.take()
		pool.free(first)
		third, err := pool.take()
		if first != "10.244.1.0" || second != "10.244.1.1" || third != c.again || err != nil {
			t.Errorf("reuse=%t: %s, %s, %s, %v", c.reuse, first, second, third, err)
		}
	}
}

func TestAddressesRunOut(t *testing.T) {
	pool := newAddresses(false)
	for range addressCount {
		if _, err := pool.take(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pool.take(); err != errNoAddress {
		t.Errorf("one address too many: %v", err)
	}
}

func TestReadinessNeedsItsThresholds(t *testing.T) {
	probe := &core.Probe{SuccessThreshold: 2, FailureThreshold: 3}
	var state streak
	for i, c := range []struct{ ok, ready bool }{
		{true, false}, {true, true}, {false, true}, {false, true}, {true, true},
		{false, true}, {false, true}, {false, false}, {true, false}, {true, true},
	} {
		if ready := state.observe(c.ok, probe); ready != c.ready {
			t.Errorf("result %d: ready is %t", i, ready)
		}
	}
}
