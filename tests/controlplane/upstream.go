package main

import (
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"

	_ "k8s.io/component-base/logs/json/register"
)

// The upstream programs run in this process as their own main would.

func runEtcd(args []string) error {
	etcdmain.Main(append([]string{"etcd"}, args...))
	return nil
}

func runAPIServer(args []string) error {
	return runCobra(apiserver.NewAPIServerCommand(), args)
}

func runControllerManager(args []string) error {
	return runCobra(controllermanager.NewControllerManagerCommand(), args)
}

func runKubectl(args []string) error {
	os.Args = append([]string{"kubectl"}, args...)
	return runCobra(kubectl.NewDefaultKubectlCommand(), args)
}

func runCobra(command *cobra.Command, args []string) error {
	command.SetArgs(args)
	if code := cli.Run(command); code != 0 {
		os.Exit(code)
	}
	return nil
}
