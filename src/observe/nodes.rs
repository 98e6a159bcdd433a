//! What is known of nodes.

use kube::runtime::watcher;

use super::decode::{self, Malformed};
use super::objects::NodeObject;
use crate::model::Nodes;

/// The nodes. A list is taken in as a whole, as those of Services and slices are.
#[derive(Debug, Default)]
pub(super) struct NodeStore {
    nodes: Nodes,
    staged: Option<Nodes>,
    complete_once: bool,
}

impl NodeStore {
    /// All nodes, once they are known.
    pub(super) fn get(&self) -> Option<&Nodes> {
        self.complete_once.then_some(&self.nodes)
    }

    /// Takes an event in. Does anything look different now?
    ///
    /// # Errors
    /// The object makes no sense; what was known of it stays.
    pub(super) fn observe(&mut self, event: watcher::Event<NodeObject>) -> Result<bool, Malformed> {
        match event {
            watcher::Event::Init => self.staged = Some(Nodes::new()),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                let name = decode::node_name(&object)?;
                let read = decode::node(&object);
                let (node, error) = match read {
                    Ok((_, node)) => (Some(node), Ok(())),
                    Err(malformed) => (self.nodes.get(&name).cloned(), Err(malformed)),
                };
                let nodes = self.staged.as_mut().unwrap_or(&mut self.nodes);
                let before = node.and_then(|node| {
                    let is_same = nodes.get(&name) == Some(&node);
                    (!is_same).then(|| nodes.insert(name, node))
                });
                error?;
                return Ok(before.is_some() && self.staged.is_none());
            }
            watcher::Event::Delete(object) => {
                let name = decode::node_name(&object)?;
                let was_there = self.staged.as_mut().unwrap_or(&mut self.nodes).remove(&name).is_some();
                return Ok(was_there && self.staged.is_none());
            }
            watcher::Event::InitDone => {
                let Some(nodes) = self.staged.take() else { return Ok(false) };
                let is_new = !self.complete_once || nodes != self.nodes;
                self.nodes = nodes;
                self.complete_once = true;
                return Ok(is_new);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    fn node(name: &str, ready: &str, more: serde_json::Value) -> NodeObject {
        let mut node = json!({
            "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": "a"}},
            "status": {
                "addresses": [
                    {"type": "Hostname", "address": name},
                    {"type": "ExternalIP", "address": "8.8.8.8"},
                    {"type": "InternalIP", "address": "192.168.0.1"},
                    {"type": "InternalIP", "address": "fd00::1"},
                ],
                "conditions": [{"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": ready}],
            },
        });
        json_patch(&mut node, more);
        serde_json::from_value(node).unwrap()
    }

    fn json_patch(object: &mut serde_json::Value, more: serde_json::Value) {
        for (name, value) in more.as_object().into_iter().flatten() {
            match (object[name].is_object(), value.is_object()) {
                (true, true) => json_patch(&mut object[name], value.clone()),
                _ => object[name] = value.clone(),
            }
        }
    }

    #[test]
    fn a_node_takes_traffic_as_the_service_controller_sees_it() {
        let of = |ready: &str, more| decode::node(&node("n", ready, more)).unwrap().1;
        let plain = of("True", json!({}));
        assert_eq!(
            plain.addresses,
            ["192.168.0.1", "fd00::1"].map(|ip| ip.parse::<std::net::IpAddr>().unwrap())
        );
        assert_eq!(
            (plain.placement.node.as_deref(), plain.placement.zone.as_deref()),
            (Some("n"), Some("a"))
        );
        for (ready, more, expected) in [
            ("True", json!({}), true),
            ("False", json!({}), false),
            ("Unknown", json!({}), false),
            ("True", json!({"spec": {"unschedulable": true}}), true),
            ("True", json!({"spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler"}]}}), false),
            ("True", json!({"spec": {"taints": [{"key": "other"}]}}), true),
            (
                "True",
                json!({"metadata": {"labels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""}}}),
                false,
            ),
            ("True", json!({"status": null}), false),
        ] {
            assert_eq!(of(ready, more.clone()).takes_traffic, expected, "{ready} {more}");
        }
    }

    #[test]
    fn nodes_are_known_once_their_list_is_complete_and_news_is_what_differs() {
        let mut store = NodeStore::default();
        let list = |store: &mut NodeStore, names: &[&str]| {
            store.observe(Event::Init).unwrap();
            for name in names {
                assert_eq!(store.observe(Event::InitApply(node(name, "True", json!({})))), Ok(false));
            }
            assert!(store.get().is_none_or(|nodes| nodes.len() == 1));
            store.observe(Event::InitDone).unwrap()
        };
        assert!(list(&mut store, &["a"]));
        assert!(!list(&mut store, &["a"]));
        let heartbeat = json!({"metadata": {"resourceVersion": "9"}});
        assert_eq!(store.observe(Event::Apply(node("a", "True", heartbeat))), Ok(false));
        assert_eq!(store.observe(Event::Apply(node("a", "False", json!({})))), Ok(true));
        let malformed = node("a", "True", json!({"status": {"addresses": "x"}}));
        assert!(store.observe(Event::Apply(malformed.clone())).is_err());
        store.observe(Event::Init).unwrap();
        assert!(store.observe(Event::InitApply(malformed)).is_err());
        assert_eq!(store.observe(Event::InitDone), Ok(false), "what makes no sense stays as it was");
        assert_eq!(store.observe(Event::Delete(node("a", "True", json!({})))), Ok(true));
        assert_eq!(store.get().map(Nodes::len), Some(0));
    }
}
