package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// plane is one control plane: its directory, and the loopback ports of its programs.
type plane struct {
	dir                         string
	etcdPort, peerPort, apiPort int
	managerPort                 int
	nodes                       int
	reuseAddresses              bool
}

const (
	serviceCIDR = "10.96.0.0/16"
	startLimit  = 90 * time.Second
	stopGrace   = 10 * time.Second
)

var firstServiceIP = net.IPv4(10, 96, 0, 1)

// runUp starts everything and prints the path of an administrator's kubeconfig as its last line.
func runUp(args []string) error {
	p := plane{}
	flags := flag.NewFlagSet("up", flag.ExitOnError)
	flags.StringVar(&p.dir, "dir", defaultDir(), "state of this control plane")
	flags.IntVar(&p.nodes, "nodes", 3, "nodes of the kubelet stand-in")
	flags.BoolVar(&p.reuseAddresses, "reuse-addresses", false, "give a freed pod address to the next pod")
	flags.Parse(args)
	started := time.Now()
	if err := p.up(); err != nil {
		stopAll(p.dir)
		return err
	}
	printMemory(p.dir)
	fmt.Printf("started in %.1f s\n", time.Since(started).Seconds())
	fmt.Printf("KUBECONFIG=%s\n", p.kubeconfig("admin"))
	return nil
}

// runDown prints what each process used and stops them all.
func runDown(args []string) error {
	flags := flag.NewFlagSet("down", flag.ExitOnError)
	dir := flags.String("dir", defaultDir(), "state of the control plane to stop")
	flags.Parse(args)
	printMemory(*dir)
	return stopAll(*dir)
}

// runStatus prints what runs.
func runStatus(args []string) error {
	flags := flag.NewFlagSet("status", flag.ExitOnError)
	dir := flags.String("dir", defaultDir(), "state of the control plane")
	flags.Parse(args)
	printMemory(*dir)
	return nil
}

func defaultDir() string { return filepath.Join(os.TempDir(), "zoobridge-controlplane") }

func (p *plane) up() error {
	for _, name := range order {
		if pid, running := (process{name, p.dir}).pid(); running {
			return fmt.Errorf("%s runs already in %s (pid %d): stop it first with down --dir %s", name, p.dir, pid, p.dir)
		}
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	if err := p.choosePorts(); err != nil {
		return err
	}
	if err := p.issueCertificates(); err != nil {
		return err
	}
	steps := []func() error{p.startEtcd, p.startAPIServer, p.startControllerManager, p.waitForDefaults, p.startKubelets}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (p *plane) choosePorts() error {
	for _, port := range []*int{&p.etcdPort, &p.peerPort, &p.apiPort, &p.managerPort} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer listener.Close()
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return nil
}

func (p *plane) issueCertificates() error {
	authority, err := newPKI(p.pki(""))
	if err != nil {
		return err
	}
	return errors.Join(
		authority.server("kube-apiserver", firstServiceIP),
		authority.client("admin", "admin", "system:masters"),
		authority.client("kube-controller-manager", "system:kube-controller-manager"),
		authority.client("kubelet-stand-in", "kubelet-stand-in", "system:masters"),
		authority.serviceAccountKey(),
		p.writeKubeconfig("admin"),
		p.writeKubeconfig("kube-controller-manager"),
		p.writeKubeconfig("kubelet-stand-in"),
	)
}

func (p *plane) startEtcd() error {
	client := fmt.Sprintf("http://127.0.0.1:%d", p.etcdPort)
	peer := fmt.Sprintf("http://127.0.0.1:%d", p.peerPort)
	// Nothing here outlives the test, so nothing has to survive a power failure.
	return process{"etcd", p.dir}.start(
		"--data-dir", filepath.Join(p.dir, "etcd"), "--unsafe-no-fsync", "--name", "default",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer,
		"--log-level", "warn")
}

func (p *plane) startAPIServer() error {
	server := process{"kube-apiserver", p.dir}
	err := server.start(
		"--etcd-servers", fmt.Sprintf("http://127.0.0.1:%d", p.etcdPort),
		"--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", fmt.Sprint(p.apiPort),
		// The endpoint of the `kubernetes` Service may not be loopback; nothing here uses it.
		"--endpoint-reconciler-type", "none",
		"--service-cluster-ip-range", serviceCIDR, "--authorization-mode", "Node,RBAC",
		"--client-ca-file", p.pki("ca.crt"),
		"--tls-cert-file", p.pki("kube-apiserver.crt"), "--tls-private-key-file", p.pki("kube-apiserver.key"),
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", p.pki("sa.key"), "--service-account-signing-key-file", p.pki("sa.key"),
		"--allow-privileged", "--max-requests-inflight", "1000")
	if err != nil {
		return err
	}
	return p.waitFor(server, "ready", p.apiReady)
}

func (p *plane) startControllerManager() error {
	// All default controllers; this release has no cloud ones. Address ranges of nodes mean nothing here.
	return process{"kube-controller-manager", p.dir}.start(
		"--kubeconfig", p.kubeconfig("kube-controller-manager"), "--use-service-account-credentials",
		"--authentication-kubeconfig", p.kubeconfig("kube-controller-manager"),
		"--authorization-kubeconfig", p.kubeconfig("kube-controller-manager"),
		"--controllers", "*,-node-ipam-controller",
		"--service-account-private-key-file", p.pki("sa.key"), "--root-ca-file", p.pki("ca.crt"),
		"--bind-address", "127.0.0.1", "--secure-port", fmt.Sprint(p.managerPort), "--leader-elect=false",
		"--kube-api-qps", "200", "--kube-api-burst", "400")
}

// waitForDefaults waits for what a new namespace gets from the controllers.
func (p *plane) waitForDefaults() error {
	manager := process{"kube-controller-manager", p.dir}
	return p.waitFor(manager, "giving namespace default its ServiceAccount", func() error {
		return p.get("/api/v1/namespaces/default/serviceaccounts/default")
	})
}

func (p *plane) startKubelets() error {
	kubelets := process{"kubelet-stand-in", p.dir}
	err := kubelets.start("--kubeconfig", p.kubeconfig("kubelet-stand-in"),
		"--nodes", fmt.Sprint(p.nodes), fmt.Sprintf("--reuse-addresses=%t", p.reuseAddresses))
	if err != nil {
		return err
	}
	return p.waitFor(kubelets, "registering its nodes", func() error {
		return p.get(fmt.Sprintf("/api/v1/nodes/node-%d", p.nodes))
	})
}

// waitFor polls check; it gives up when the process dies or time is up.
func (p *plane) waitFor(waited process, what string, check func() error) error {
	var err error
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = check(); err == nil {
			return nil
		}
		if _, running := waited.pid(); !running {
			return fmt.Errorf("%s died before %s; the end of %s:\n%s", waited.name, what, waited.log(), waited.tail())
		}
	}
	return fmt.Errorf("%s is not %s after %s: %w; the end of %s:\n%s", waited.name, what, startLimit, err, waited.log(), waited.tail())
}

func (p *plane) apiReady() error { return p.get("/readyz") }

// get asks the API server as the administrator and wants a 200.
func (p *plane) get(path string) error {
	client, err := p.adminClient()
	if err != nil {
		return err
	}
	response, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d%s", p.apiPort, path))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", path, response.Status, strings.TrimSpace(string(body)))
	}
	return err
}

func (p *plane) adminClient() (*http.Client, error) {
	certificate, err := tls.LoadX509KeyPair(p.pki("admin.crt"), p.pki("admin.key"))
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(p.pki("ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}}
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}, nil
}

func (p *plane) pki(file string) string { return filepath.Join(p.dir, "pki", file) }

func (p *plane) kubeconfig(user string) string { return filepath.Join(p.dir, user+".kubeconfig") }

func (p *plane) writeKubeconfig(user string) error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: controlplane, cluster: {server: "https://127.0.0.1:%d", certificate-authority: %q}}]
users: [{name: %s, user: {client-certificate: %q, client-key: %q}}]
contexts: [{name: controlplane, context: {cluster: controlplane, user: %s}}]
current-context: controlplane
`, p.apiPort, p.pki("ca.crt"), user, p.pki(user+".crt"), p.pki(user+".key"), user)
	return os.WriteFile(p.kubeconfig(user), []byte(text), 0o600)
}

func printMemory(dir string) {
	for _, name := range order {
		if resident, peak, running := (process{name, dir}).memory(); running {
			fmt.Printf("%-24s %4d MiB resident, %4d MiB at peak\n", name, resident, peak)
		} else {
			fmt.Printf("%-24s does not run\n", name)
		}
	}
}

func stopAll(dir string) error {
	var err error
	for i := len(order) - 1; i >= 0; i-- {
		err = errors.Join(err, process{order[i], dir}.stop(stopGrace))
	}
	return err
}
