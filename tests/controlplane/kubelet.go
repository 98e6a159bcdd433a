package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"sync"
	"syscall"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

// Annotations on pods that steer the stand-in.
const (
	readyAnnotation          = "controlplane.test/ready"           // "false": the readiness probe fails
	readyAfterAnnotation     = "controlplane.test/ready-after"     // a duration from start to ready
	terminateAfterAnnotation = "controlplane.test/terminate-after" // a duration from deletion to gone
	addressAnnotation        = "controlplane.test/address"         // this address; its probe is real
	probeAnnotation          = "controlplane.test/probe"           // "real": probe the pod's address
	netnsAnnotation          = "controlplane.test/netns"           // "true": run the command in a namespace
)

const defaultTermination = time.Second

// kubelets stands in for the kubelets and the scheduler of a few nodes. Pods are events in a work queue; one
// pod is handled by one worker at a time.
type kubelets struct {
	client kubernetes.Interface
	pods   cache.SharedIndexInformer
	queue  workqueue.TypedRateLimitingInterface[string]
	nodes  int

	mutex     sync.Mutex
	addresses *addresses
	states    map[string]*podState
	bound     int
}

// podState is what a real kubelet would know of a pod and the API does not show.
type podState struct {
	uid        types.UID
	address    string
	since      time.Time
	cancel     context.CancelFunc
	network    *podNetwork
	real       bool
	probeReady bool
}

func runKubelets(args []string) error {
	flags := flag.NewFlagSet("kubelet-stand-in", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	nodes := flags.Int("nodes", 3, "how many nodes to keep")
	reuse := flags.Bool("reuse-addresses", false, "give a freed address to the next pod")
	flags.Parse(args)
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	k := &kubelets{
		client:    client,
		nodes:     *nodes,
		addresses: newAddresses(*reuse),
		states:    map[string]*podState{},
		queue:     workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](50*time.Millisecond, 5*time.Second)),
	}
	return k.run(ctx)
}

func (k *kubelets) run(ctx context.Context) error {
	for i := 1; i <= k.nodes; i++ {
		if err := k.register(ctx, nodeName(i)); err != nil {
			return err
		}
	}
	factory := informers.NewSharedInformerFactory(k.client, 0)
	k.pods = factory.Core().V1().Pods().Informer()
	enqueue := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			k.queue.Add(key)
		}
	}
	k.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, DeleteFunc: enqueue, UpdateFunc: func(_, object any) { enqueue(object) },
	})
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), k.pods.HasSynced) {
		return fmt.Errorf("the list of pods did not arrive")
	}
	k.keepExistingAddresses()
	for range 8 {
		go k.work(ctx)
	}
	go k.heartbeat(ctx)
	<-ctx.Done()
	k.queue.ShutDown()
	k.stopNetworks()
	return nil
}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

// register creates a ready node in a zone of its own and its Lease.
func (k *kubelets) register(ctx context.Context, name string) error {
	node := &core.Node{ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{
		"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": "zone-" + name[len("node-"):],
	}}}
	if _, err := k.client.CoreV1().Nodes().Create(ctx, node, meta.CreateOptions{}); err != nil && !errors.IsAlreadyExists(err) {
		return fmt.Errorf("register %s: %w", name, err)
	}
	if err := k.beat(ctx, name); err != nil {
		return fmt.Errorf("report %s: %w", name, err)
	}
	// The node lifecycle controller taints new nodes until it has seen them ready; nothing here schedules.
	return nil
}

func (k *kubelets) heartbeat(ctx context.Context) {
	for sleep(ctx, 10*time.Second) {
		for i := 1; i <= k.nodes; i++ {
			if err := k.beat(ctx, nodeName(i)); err != nil && ctx.Err() == nil {
				log.Printf("heartbeat of %s: %v", nodeName(i), err)
			}
		}
	}
}

// beat renews a node's status and its Lease, as the node lifecycle controller expects.
func (k *kubelets) beat(ctx context.Context, name string) error {
	node, err := k.client.CoreV1().Nodes().Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return err
	}
	now := meta.Now()
	capacity := core.ResourceList{core.ResourceCPU: resource.MustParse("64"), core.ResourceMemory: resource.MustParse("256Gi"), core.ResourcePods: resource.MustParse("1000")}
	node.Status.Capacity, node.Status.Allocatable = capacity, capacity
	node.Status.Addresses = []core.NodeAddress{{Type: core.NodeInternalIP, Address: nodeAddress(name)}}
	node.Status.Conditions = []core.NodeCondition{{Type: core.NodeReady, Status: core.ConditionTrue, Reason: "StandIn", LastHeartbeatTime: now, LastTransitionTime: node.CreationTimestamp}}
	if _, err := k.client.CoreV1().Nodes().UpdateStatus(ctx, node, meta.UpdateOptions{}); err != nil && !errors.IsConflict(err) {
		return err
	}
	return k.renewLease(ctx, name)
}

func (k *kubelets) renewLease(ctx context.Context, name string) error {
	leases := k.client.CoordinationV1().Leases("kube-node-lease")
	seconds, now := int32(40), meta.NowMicro()
	lease, err := leases.Get(ctx, name, meta.GetOptions{})
	if errors.IsNotFound(err) {
		lease = &coordination.Lease{ObjectMeta: meta.ObjectMeta{Name: name}}
		lease.Spec = coordination.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now}
		_, err = leases.Create(ctx, lease, meta.CreateOptions{})
		if errors.IsNotFound(err) { // The namespace comes a moment after the API server.
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec.RenewTime = &now
	_, err = leases.Update(ctx, lease, meta.UpdateOptions{})
	return err
}

func nodeAddress(name string) string { return "10.243.0." + name[len("node-"):] }

func (k *kubelets) keepExistingAddresses() {
	for _, object := range k.pods.GetStore().List() {
		if pod := object.(*core.Pod); pod.Status.PodIP != "" {
			k.addresses.keep(pod.Status.PodIP)
		}
	}
}

func (k *kubelets) work(ctx context.Context) {
	for {
		key, shutdown := k.queue.Get()
		if shutdown {
			return
		}
		if err := k.reconcile(ctx, key); err != nil && ctx.Err() == nil {
			if !errors.IsConflict(err) && !errors.IsNotFound(err) {
				log.Printf("pod %s: %v", key, err)
			}
			k.queue.AddRateLimited(key)
		} else {
			k.queue.Forget(key)
		}
		k.queue.Done(key)
	}
}

// reconcile brings one pod a step further.
func (k *kubelets) reconcile(ctx context.Context, key string) error {
	object, exists, err := k.pods.GetStore().GetByKey(key)
	if err != nil {
		return err
	}
	if !exists {
		k.forget(key)
		return nil
	}
	pod := object.(*core.Pod)
	switch {
	case pod.Spec.NodeName == "":
		return k.bind(ctx, pod)
	case pod.DeletionTimestamp != nil:
		return k.terminate(ctx, key, pod)
	default:
		return k.sync(ctx, key, pod)
	}
}

// bind is the scheduler's part: round robin, nothing else.
func (k *kubelets) bind(ctx context.Context, pod *core.Pod) error {
	if pod.DeletionTimestamp != nil {
		return k.remove(ctx, pod)
	}
	k.mutex.Lock()
	k.bound++
	node := nodeName(k.bound%k.nodes + 1)
	k.mutex.Unlock()
	binding := &core.Binding{
		ObjectMeta: meta.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
		Target:     core.ObjectReference{Kind: "Node", Name: node},
	}
	return k.client.CoreV1().Pods(pod.Namespace).Bind(ctx, binding, meta.CreateOptions{})
}

// sync starts the pod if need be and reports its status if that has changed.
func (k *kubelets) sync(ctx context.Context, key string, pod *core.Pod) error {
	state, err := k.state(ctx, key, pod)
	if err != nil {
		return err
	}
	ready, wait := state.ready(pod)
	if wait > 0 {
		k.queue.AddAfter(key, wait)
	}
	return k.report(ctx, pod, state, ready)
}

// state is the pod's, made at its first event.
func (k *kubelets) state(ctx context.Context, key string, pod *core.Pod) (*podState, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if state, known := k.states[key]; known {
		if state.uid == pod.UID {
			return state, nil
		}
		k.release(key, state)
	}
	state := &podState{uid: pod.UID, since: time.Now()}
	if err := k.choose(state, pod); err != nil {
		return nil, err
	}
	if pod.Annotations[netnsAnnotation] == "true" {
		network, err := newPodNetwork(pod, state.address)
		if err != nil {
			k.addresses.free(state.address)
			return nil, err
		}
		state.network = network
	}
	k.states[key] = state
	k.startProbe(ctx, key, pod, state)
	return state, nil
}

func (k *kubelets) choose(state *podState, pod *core.Pod) (err error) {
	switch {
	case pod.Status.PodIP != "":
		state.address = pod.Status.PodIP
		k.addresses.keep(state.address)
	case pod.Annotations[addressAnnotation] != "":
		state.address = pod.Annotations[addressAnnotation]
		k.addresses.keep(state.address)
	case pod.Spec.HostNetwork:
		state.address = nodeAddress(pod.Spec.NodeName)
	default:
		state.address, err = k.addresses.take()
	}
	return err
}

// startProbe runs the first container's readiness probe for real where that is asked for.
func (k *kubelets) startProbe(ctx context.Context, key string, pod *core.Pod, state *podState) {
	container := pod.Spec.Containers[0].DeepCopy()
	asked := pod.Annotations[probeAnnotation] == "real" || pod.Annotations[addressAnnotation] != "" || state.network != nil
	ctx, state.cancel = context.WithCancel(ctx)
	state.real = asked && container.ReadinessProbe != nil
	if !state.real {
		return
	}
	go runProbe(ctx, container.ReadinessProbe, container, state.address, func(ready bool) {
		k.mutex.Lock()
		state.probeReady = ready
		k.mutex.Unlock()
		k.queue.Add(key)
	})
}

// ready says whether the pod is, and if time will change that, when to look again.
func (s *podState) ready(pod *core.Pod) (bool, time.Duration) {
	if after, err := time.ParseDuration(pod.Annotations[readyAfterAnnotation]); err == nil {
		if left := time.Until(s.since.Add(after)); left > 0 {
			return false, left
		}
	}
	if pod.Annotations[readyAnnotation] == "false" {
		return false, 0
	}
	return !s.real || s.probeReady, 0
}

// report writes the status that a kubelet would, if it differs.
func (k *kubelets) report(ctx context.Context, pod *core.Pod, state *podState, ready bool) error {
	if pod.Status.Phase == core.PodRunning && isReady(pod) == ready && pod.Status.PodIP == state.address {
		return nil
	}
	updated := pod.DeepCopy()
	now := meta.Now()
	status := &updated.Status
	status.Phase, status.PodIP, status.HostIP = core.PodRunning, state.address, nodeAddress(pod.Spec.NodeName)
	status.PodIPs = []core.PodIP{{IP: state.address}}
	status.HostIPs = []core.HostIP{{IP: status.HostIP}}
	if status.StartTime == nil {
		status.StartTime = &now
	}
	for kind, value := range map[core.PodConditionType]bool{
		core.PodScheduled: true, core.PodInitialized: true, core.PodReadyToStartContainers: true,
		core.ContainersReady: ready, core.PodReady: ready && gatesPass(pod),
	} {
		setCondition(status, kind, value, now)
	}
	status.ContainerStatuses = nil
	for _, container := range pod.Spec.Containers {
		started := true
		status.ContainerStatuses = append(status.ContainerStatuses, core.ContainerStatus{
			Name: container.Name, Image: container.Image, ImageID: container.Image, Ready: ready, Started: &started,
			State: core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: *status.StartTime}},
		})
	}
	_, err := k.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, updated, meta.UpdateOptions{})
	return err
}

func isReady(pod *core.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == core.PodReady {
			return condition.Status == core.ConditionTrue
		}
	}
	return false
}

func gatesPass(pod *core.Pod) bool {
	for _, gate := range pod.Spec.ReadinessGates {
		passed := false
		for _, condition := range pod.Status.Conditions {
			passed = passed || condition.Type == gate.ConditionType && condition.Status == core.ConditionTrue
		}
		if !passed {
			return false
		}
	}
	return true
}

func setCondition(status *core.PodStatus, kind core.PodConditionType, value bool, now meta.Time) {
	wanted := core.ConditionFalse
	if value {
		wanted = core.ConditionTrue
	}
	for i := range status.Conditions {
		if condition := &status.Conditions[i]; condition.Type == kind {
			if condition.Status != wanted {
				condition.Status, condition.LastTransitionTime = wanted, now
			}
			return
		}
	}
	status.Conditions = append(status.Conditions, core.PodCondition{Type: kind, Status: wanted, LastTransitionTime: now})
}

// terminate ends a pod as a kubelet does: not ready at once, gone after its grace.
func (k *kubelets) terminate(ctx context.Context, key string, pod *core.Pod) error {
	state, err := k.state(ctx, key, pod)
	if err != nil {
		return k.remove(ctx, pod)
	}
	if pod.Status.Phase == core.PodRunning {
		if err := k.report(ctx, pod, state, false); err != nil {
			return err
		}
	}
	wait := termination(pod)
	if left := time.Until(deletionBegan(pod).Add(wait)); left > 0 {
		k.queue.AddAfter(key, left)
		return nil
	}
	k.mutex.Lock()
	network := state.network
	state.network = nil
	k.mutex.Unlock()
	if network != nil {
		network.stop(wait)
	}
	return k.remove(ctx, pod)
}

// deletionBegan is when the deletion was asked for; the timestamp on the pod is when it must be over.
func deletionBegan(pod *core.Pod) time.Time {
	grace := int64(0)
	if pod.DeletionGracePeriodSeconds != nil {
		grace = *pod.DeletionGracePeriodSeconds
	}
	return pod.DeletionTimestamp.Add(-time.Duration(grace) * time.Second)
}

func termination(pod *core.Pod) time.Duration {
	wait := defaultTermination
	if asked, err := time.ParseDuration(pod.Annotations[terminateAfterAnnotation]); err == nil {
		wait = asked
	}
	if pod.DeletionGracePeriodSeconds != nil {
		wait = min(wait, time.Duration(*pod.DeletionGracePeriodSeconds)*time.Second)
	}
	return wait
}

// remove is the kubelet's last word; a pod of the same name that came since is left alone.
func (k *kubelets) remove(ctx context.Context, pod *core.Pod) error {
	now := int64(0)
	options := meta.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &meta.Preconditions{UID: &pod.UID}}
	err := k.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, options)
	if errors.IsNotFound(err) || errors.IsConflict(err) {
		return nil
	}
	return err
}

func (k *kubelets) forget(key string) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if state, known := k.states[key]; known {
		k.release(key, state)
	}
}

// release frees what a pod held. The mutex is held.
func (k *kubelets) release(key string, state *podState) {
	state.cancel()
	if state.network != nil {
		go state.network.stop(0)
	}
	k.addresses.free(state.address)
	delete(k.states, key)
}

func (k *kubelets) stopNetworks() {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	for _, state := range k.states {
		if state.network != nil {
			state.network.stop(0)
		}
	}
}
