//! The same with kubectl, as a user types it.

use std::path::Path;
use std::process::Command;

use crate::transcript::Transcript;

const MANIFEST: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: m, labels: {a: b}}
data: {k: '1', l: '1'}
---
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {selector: {a: b}, ports: [{name: http, port: 80}]}
";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl; `run` has it"]
async fn kubectl_creates_applies_edits_and_deletes() {
    let mut t = Transcript::begin("kubectl").await;
    let (manifest, changed) = (t.dir.path().join("m.yaml"), t.dir.path().join("changed.yaml"));
    std::fs::write(&manifest, MANIFEST).unwrap();
    std::fs::write(&changed, MANIFEST.replace("l: '1'", "k2: '2'").replace("80", "81")).unwrap();
    let (manifest, changed) = (manifest.to_str().unwrap().to_owned(), changed.to_str().unwrap().to_owned());
    for line in [
        "create configmap c --from-literal=a=b",
        "create configmap c --from-literal=a=b",
        "create namespace <ns>-2",
        "delete namespace <ns>-2 --wait=false",
        "get configmap c -o jsonpath={.data}",
        "apply -f MANIFEST",
        "apply -f MANIFEST",
        "diff -f MANIFEST",
        "apply -f CHANGED --dry-run=server",
        "apply -f CHANGED",
        "get configmap m -o jsonpath={.data}",
        "get service s -o jsonpath={.spec.ports}",
        "edit configmap m",
        "get configmap m -o jsonpath={.data}",
        "label configmap m x=y",
        "annotate configmap m x=y",
        "patch configmap m --type=merge -p {\"data\":{\"z\":\"1\"}}",
        "apply --server-side -f MANIFEST",
        "apply --server-side --field-manager=other -f CHANGED",
        "apply --server-side --field-manager=other --force-conflicts -f CHANGED",
        "get configmap,service -l a=b -o name",
        "get configmap none",
        "apply -f - <<< {kind: Service, apiVersion: v1, metadata: {name: \"no good\"}}",
        "create configmap d --dry-run=server --from-literal=a=b",
        "delete -f MANIFEST",
        "delete configmap c --cascade=background",
        "delete configmap c",
    ] {
        let typed =
            line.replace("<ns>", &t.namespace).replace("MANIFEST", &manifest).replace("CHANGED", &changed);
        let answered = kubectl(&t.kubeconfig, &t.namespace, &typed);
        t.note(line, &answered);
    }
    t.end().await;
}

/// What kubectl printed, and its exit code.
fn kubectl(kubeconfig: &Path, namespace: &str, line: &str) -> String {
    let binary = std::env::var("CONFORMANCE_KUBECTL").expect("CONFORMANCE_KUBECTL names a kubectl");
    let (line, input) = line.split_once(" <<< ").unwrap_or((line, ""));
    let mut command = Command::new("bash");
    command.args(["-c", r#"input=$1; shift; printf %s "$input" | "$@" 2>&1"#, "bash", input]);
    command.args(binary.split(' ')).args(["--kubeconfig".as_ref(), kubeconfig.as_os_str()]);
    command.args(["--namespace", namespace]).args(line.split(' '));
    let output = command.env("KUBE_EDITOR", "sed -i s/k2:/k3:/").output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    format!("{printed}exit {}", output.status.code().unwrap_or(-1))
}
