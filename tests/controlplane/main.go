// The controlplane binary is a real Kubernetes control plane for tests: etcd, kube-apiserver,
// kube-controller-manager and kubectl in one file, plus a stand-in for the kubelets.
//
// The first argument names the program; `up` and `down` run the whole as processes on loopback.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
)

// programs are what the first argument can name.
var programs = map[string]func(args []string) error{
	"etcd":                    runEtcd,
	"kube-apiserver":          runAPIServer,
	"kube-controller-manager": runControllerManager,
	"kubectl":                 runKubectl,
	"kubelet-stand-in":        runKubelets,
	"up":                      runUp,
	"down":                    runDown,
	"status":                  runStatus,
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("which program? one of %s", names()))
	}
	program, ok := programs[os.Args[1]]
	if !ok {
		fail(fmt.Errorf("there is no program %q; one of %s", os.Args[1], names()))
	}
	if err := program(os.Args[2:]); err != nil {
		fail(err)
	}
}

func names() string {
	var all []string
	for name := range programs {
		all = append(all, name)
	}
	sort.Strings(all)
	return strings.Join(all, ", ")
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "controlplane:", err)
	os.Exit(1)
}
