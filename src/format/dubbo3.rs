//! Dubbo 3's application-level discovery. `<root>/<application>/<ip:port>` is an instance in Curator's form
//! (`CuratorFrameworkUtils.build`), and below the root of interface-level registration are, persistent:
//!
//! - `metadata/<application>/<revision>`, what instances of that revision provide (`MetadataInfo`). The revision is
//!   Dubbo's own hash of it (`calAndGetRevision`), so whoever provides the same has the same, and consumers may keep
//!   it for ever. An instance says `remote`, since a pod that registers nothing answers for no revision itself.
//! - `mapping/<interface>`, a list of the applications that provide it (`MetadataServiceNameMapping`).
//!
//! The bytes are those that Dubbo 3.2 and 3.3 write, but for the order of parameters in the metadata, which with
//! Dubbo is that of a `HashMap` and depends on how it was filled. Here they are sorted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use md5::{Digest, Md5};
use serde::Serialize;
use zk_wire::path::PathError;

use super::definition::{Asking, BadAnnotation, Definition, NoIpv6, Target};
use super::dubbo::{self, Provider, keys};
use super::registered::{Registered, Unreadable};
use super::{BadValue, Instance, Leaf, curator, shortened};
use crate::model::{Companion, Holds, Host, ZnodePath};

/// Dubbo 3, by application.
pub(super) struct Format;

/// What one Service publishes as instances of an application.
#[derive(Debug)]
struct Dubbo3 {
    application: String,
    protocol: &'static str,
    /// By `[group/]interface[:version]:protocol`.
    providers: BTreeMap<String, Provider>,
    /// The names of parameters that are not harmless; the providers have the same.
    to_be_granted: Vec<String>,
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(rename = "@class")]
    class: &'static str,
    id: &'a str,
    name: &'a str,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(rename = "dubbo.endpoints")]
    endpoints: String,
    #[serde(rename = "dubbo.metadata.revision")]
    revision: &'a str,
    #[serde(rename = "dubbo.metadata.storage-type")]
    storage_type: &'static str,
    timestamp: String,
}

/// `MetadataInfo`. Members are sorted, as fastjson2 does.
#[derive(Serialize)]
struct MetadataInfo<'a> {
    app: &'a str,
    revision: &'a str,
    services: BTreeMap<&'a str, ServiceInfo<'a>>,
}

#[derive(Serialize)]
struct ServiceInfo<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    name: &'a str,
    /// Consumers fail without it.
    params: BTreeMap<&'a str, &'a str>,
    /// Consumers look for an interface among the paths.
    path: &'a str,
    port: u16,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
}

const ANNOTATION: &str = "dubbo3";
const APPLICATION: &str = "dubbo3-application";
const PARAMETERS: &str = "dubbo3-parameters";
const PROTOCOL: &str = "dubbo3-protocol";

/// Those that pods speak; the first is the default.
const PROTOCOLS: [&str; 2] = ["dubbo", "tri"];
const CLASS: &str = "org.apache.dubbo.registry.zookeeper.ZookeeperInstance";
/// Parameters that Dubbo leaves out of the metadata (`DefaultMetadataParamsFilter`).
const NOT_IN_METADATA: [&str; 3] = ["anyhost", "pid", "timestamp"];
/// Consumers look for the metadata of an application of this name elsewhere: equal parts of the path are merged.
const MERGED: &str = "metadata";

impl Definition for Format {
    fn root(&self) -> &'static str {
        "/services"
    }

    fn beside(&self) -> Option<super::Format> {
        Some(super::Format::Dubbo)
    }

    fn options(&self) -> &'static [&'static str] {
        &[APPLICATION, PARAMETERS, PROTOCOL]
    }

    fn has_own_name(&self) -> bool {
        false
    }

    /// All interfaces are in one revision: a mistake in one leaves nothing to publish.
    fn targets(&self, asked: &Asking<'_>) -> Vec<Result<Box<dyn Target>, BadAnnotation>> {
        let application = asked.option(APPLICATION).unwrap_or(&asked.service.key.name);
        let parameters = asked.option(PARAMETERS).unwrap_or_default();
        let named = asked.option(PROTOCOL).unwrap_or(PROTOCOLS[0]);
        let mut bad = Vec::new();
        let protocol = PROTOCOLS.into_iter().find(|protocol| *protocol == named).unwrap_or_else(|| {
            let reason = BadValue::NoneOf { value: shortened(named), allowed: PROTOCOLS.join(", ") };
            bad.push(BadAnnotation { annotation: PROTOCOL, reason });
            PROTOCOLS[0]
        });
        bad.extend(check_application(application).err());
        let mut providers = BTreeMap::new();
        for key in keys(asked.value) {
            match Provider::new(key, application, parameters) {
                Ok(provider) => drop(providers.insert(provider.key(protocol), provider)),
                Err(error) => bad.push(BadAnnotation {
                    annotation: error.part().of([ANNOTATION, APPLICATION, PARAMETERS]),
                    reason: error.into(),
                }),
            }
        }
        if bad.is_empty() {
            let to_be_granted =
                providers.values().next().map(|provider| provider.to_be_granted.clone()).unwrap_or_default();
            let application = application.to_owned();
            return vec![Ok(Box::new(Dubbo3 { application, protocol, providers, to_be_granted }))];
        }
        bad.into_iter().map(Err).collect()
    }

    fn host(&self, leaf: &str) -> Option<Host> {
        curator::host(leaf)
    }

    fn registered(&self, service: &str, _: &str, data: &[u8]) -> Result<Registered, Unreadable> {
        curator::registered(service, data)
    }
}

/// What Dubbo takes for a name (`AbstractConfig.PATTERN_NAME`).
fn check_application(name: &str) -> Result<(), BadAnnotation> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let reason = match name {
        "." | ".." => "it is a directory's",
        MERGED => "Dubbo keeps it for itself",
        _ if name.is_empty() || !name.chars().all(is_part) => {
            "Dubbo's applications have letters, digits, '-', '.' and '_' in their names"
        }
        _ if name.len() > super::MAX_NAME_BYTES => "it is longer than 255 bytes",
        _ => return Ok(()),
    };
    let reason = BadValue::Name { name: shortened(name), reason: reason.to_owned() };
    Err(BadAnnotation { annotation: APPLICATION, reason })
}

impl Target for Dubbo3 {
    fn name(&self) -> &str {
        &self.application
    }

    fn parameters(&self) -> &[String] {
        &self.to_be_granted
    }

    /// Whoever is in the mapping of an interface gets its calls.
    fn claims(&self) -> Vec<&str> {
        let interfaces = self.providers.values().map(|provider| &*provider.interface);
        std::iter::once(&*self.application).chain(interfaces).collect()
    }

    fn directory(&self, root: &ZnodePath) -> Result<ZnodePath, PathError> {
        root.child(&self.application)
    }

    fn companions(
        &self,
        directory: &ZnodePath,
        beside: &ZnodePath,
        ports: &BTreeSet<u16>,
    ) -> Result<Vec<Companion>, PathError> {
        let mut companions = Vec::new();
        let [mapping, metadata] = dubbo::beside(beside)?;
        let interfaces: BTreeSet<_> = self.providers.values().map(|provider| &provider.interface).collect();
        for interface in interfaces {
            let holds = Holds::Item { item: self.application.clone(), leaves: directory.clone() };
            companions.push(Companion { path: mapping.child(interface)?, holds });
        }
        let metadata = metadata.child(&self.application)?;
        for &port in ports {
            let revision = self.revision(port);
            let data = self.metadata(port, &revision).into();
            let holds = Holds::Content { data, needed_below: directory.clone() };
            companions.push(Companion { path: metadata.child(&revision)?, holds });
        }
        Ok(companions)
    }

    fn leaf(&self, instance: &Instance<'_>) -> Result<Leaf, NoIpv6> {
        let endpoint = instance.endpoint;
        let (id, name) = (&curator::id(endpoint), &self.application);
        let metadata = Metadata {
            endpoints: format!(r#"[{{"port":{},"protocol":"{}"}}]"#, endpoint.port, self.protocol),
            revision: &self.revision(endpoint.port),
            storage_type: "remote",
            timestamp: instance.created_ms.to_string(),
        };
        let payload = Payload { class: CLASS, id, name, metadata };
        Ok(curator::record(name, instance, endpoint.host.to_string(), payload, None, None))
    }
}

impl Dubbo3 {
    /// Of instances that listen on this port: consumers want it to be the port in the metadata too.
    fn revision(&self, port: u16) -> String {
        let mut text = self.application.clone();
        for (key, provider) in &self.providers {
            let parameters = parameters(provider).map(|(name, value)| format!("{name}={value}"));
            let parameters = parameters.collect::<Vec<_>>().join(", ");
            // Writing to a String never fails.
            let _ = write!(text, "{key}{port}{}{{{parameters}}}", provider.interface);
        }
        Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn metadata(&self, port: u16, revision: &str) -> Vec<u8> {
        let service = |provider| service_info(provider, self.protocol, port);
        let services = self.providers.iter().map(|(key, provider)| (&**key, service(provider)));
        let info = MetadataInfo { app: &self.application, revision, services: services.collect() };
        // A struct of strings and numbers always has a JSON form.
        serde_json::to_vec(&info).unwrap_or_default()
    }
}

fn service_info<'a>(provider: &'a Provider, protocol: &'static str, port: u16) -> ServiceInfo<'a> {
    let (name, path) = (&*provider.interface, &*provider.interface);
    let (group, version) = (provider.parameter("group"), provider.parameter("version"));
    ServiceInfo { group, name, params: parameters(provider).collect(), path, port, protocol, version }
}

fn parameters(provider: &Provider) -> impl Iterator<Item = (&str, &str)> {
    let all = provider.parameters.iter().map(|(name, value)| (&**name, &**value));
    all.filter(|(name, _)| !NOT_IN_METADATA.contains(name))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::model::{Endpoint, Service, ViewName};

    fn targets(annotations: &[(&str, &str)]) -> Vec<Result<Box<dyn Target>, BadAnnotation>> {
        let service = Service::sample(annotations, vec![]);
        let value = service.annotations.get(ANNOTATION).map_or("", String::as_str);
        Format.targets(&Asking { value, service: &service, view: &ViewName::UNNAMED })
    }

    fn target(annotations: &[(&str, &str)]) -> Box<dyn Target> {
        let mut targets = targets(annotations);
        assert_eq!(targets.len(), 1);
        targets.remove(0).unwrap()
    }

    fn path(path: &str) -> ZnodePath {
        ZnodePath::new(path).unwrap()
    }

    fn leaf(target: &dyn Target, port: u16, created_ms: i64) -> Leaf {
        target.leaf(&Instance::new(&Endpoint::tcp("10.1.2.3", port), created_ms)).unwrap()
    }

    fn companions(target: &dyn Target, ports: &[u16]) -> Vec<Companion> {
        let ports = ports.iter().copied().collect();
        target.companions(&path("/services/orders"), &path("/dubbo"), &ports).unwrap()
    }

    /// What providers of these releases wrote, `metadata-type=remote`.
    const RECORDED: [(&str, &str, u16, &str, &str); 2] = [
        (
            "3.3.6",
            "hessian2,fastjson2",
            23600,
            r#"{"app":"orders","revision":"ff2cdc9532ebad9b862bcb32e0fa90d3","services":{"com.acme.OrderService:1.0.0:dubbo":{"name":"com.acme.OrderService","params":{"side":"provider","release":"3.3.6","methods":"create,get","deprecated":"false","dubbo":"2.0.2","interface":"com.acme.OrderService","service-name-mapping":"true","version":"1.0.0","generic":"false","revision":"1","metadata-type":"remote","application":"orders","prefer.serialization":"hessian2,fastjson2","dynamic":"true","REGISTRY_CLUSTER":"default"},"path":"com.acme.OrderService","port":23600,"protocol":"dubbo","version":"1.0.0"}}}"#,
            // Without "meta-v":"1.0.0", which says how an instance is asked for metadata, and a remote one is not.
            r#"{"name":"orders","id":"10.1.2.3:23600","address":"10.1.2.3","port":23600,"sslPort":null,"payload":{"@class":"org.apache.dubbo.registry.zookeeper.ZookeeperInstance","id":"10.1.2.3:23600","name":"orders","metadata":{"dubbo.endpoints":"[{\"port\":23600,\"protocol\":\"dubbo\"}]","dubbo.metadata.revision":"ff2cdc9532ebad9b862bcb32e0fa90d3","dubbo.metadata.storage-type":"remote","timestamp":"1795823046579"}},"registrationTimeUTC":1795823046579,"serviceType":"DYNAMIC","uriSpec":null}"#,
        ),
        (
            "3.2.16",
            "fastjson2,hessian2",
            23470,
            r#"{"app":"orders","revision":"af7e8552a39f78f0500b4da81adcdfb1","services":{"com.acme.OrderService:1.0.0:dubbo":{"name":"com.acme.OrderService","params":{"side":"provider","release":"3.2.16","methods":"create,get","deprecated":"false","dubbo":"2.0.2","interface":"com.acme.OrderService","service-name-mapping":"true","version":"1.0.0","generic":"false","revision":"1","metadata-type":"remote","application":"orders","prefer.serialization":"fastjson2,hessian2","dynamic":"true","REGISTRY_CLUSTER":"default"},"path":"com.acme.OrderService","port":23470,"protocol":"dubbo","version":"1.0.0"}}}"#,
            r#"{"name":"orders","id":"10.1.2.3:23470","address":"10.1.2.3","port":23470,"sslPort":null,"payload":{"@class":"org.apache.dubbo.registry.zookeeper.ZookeeperInstance","id":"10.1.2.3:23470","name":"orders","metadata":{"dubbo.endpoints":"[{\"port\":23470,\"protocol\":\"dubbo\"}]","dubbo.metadata.revision":"af7e8552a39f78f0500b4da81adcdfb1","dubbo.metadata.storage-type":"remote","timestamp":"1795823046579"}},"registrationTimeUTC":1795823046579,"serviceType":"DYNAMIC","uriSpec":null}"#,
        ),
    ];

    /// A Service that says what a provider of Dubbo says of itself is written as that writes itself.
    #[test]
    fn what_is_written_is_what_providers_write() {
        for (release, serializations, port, metadata, instance) in RECORDED {
            let parameters = format!(
                "REGISTRY_CLUSTER=default&metadata-type=remote&methods=create,get&release={release}&revision=1&\
                 service-name-mapping=true&prefer.serialization={serializations}"
            );
            let target = target(&[("dubbo3", "com.acme.OrderService:1.0.0"), (PARAMETERS, &parameters)]);
            let leaf = leaf(&*target, port, 1_795_823_046_579);
            assert_eq!(leaf.name, format!("10.1.2.3:{port}"));
            assert_eq!(std::str::from_utf8(&leaf.data).unwrap(), instance, "{release}");
            let recorded: Value = serde_json::from_str(metadata).unwrap();
            let [mapping, written] = &*companions(&*target, &[port]) else { panic!("{release}") };
            assert_eq!(mapping.path.as_str(), "/dubbo/mapping/com.acme.OrderService");
            let leaves = path("/services/orders");
            assert_eq!(mapping.holds, Holds::Item { item: "orders".to_owned(), leaves });
            let revision = recorded["revision"].as_str().unwrap();
            assert_eq!(written.path.as_str(), format!("/dubbo/metadata/orders/{revision}"));
            let Holds::Content { data, needed_below } = &written.holds else { panic!("{release}") };
            assert_eq!(needed_below.as_str(), "/services/orders");
            // Byte for byte but for the order of the parameters: this parser sorts.
            assert_eq!(data, &recorded.to_string(), "{release}");
        }
    }

    #[test]
    fn the_metadata_has_exactly_these_bytes() {
        let target = target(&[
            ("dubbo3", "com.acme.B, com.acme.A:1.0.0:g1"),
            ("dubbo3-application", "shop.orders"),
            ("dubbo3-protocol", "tri"),
        ]);
        assert_eq!(target.name(), "shop.orders");
        assert_eq!(target.claims(), ["shop.orders", "com.acme.B", "com.acme.A"]);
        let all = companions(&*target, &[50051]);
        let [.., Companion { path, holds: Holds::Content { data, .. } }] = &*all else { panic!("{all:?}") };
        assert_eq!(path.name(), "72def103d259dbbf868d4b956d08a754");
        let expected = r#"{"app":"shop.orders","revision":"72def103d259dbbf868d4b956d08a754","services":{"com.acme.B:tri":{"name":"com.acme.B","params":{"application":"shop.orders","deprecated":"false","dubbo":"2.0.2","dynamic":"true","generic":"false","interface":"com.acme.B","side":"provider"},"path":"com.acme.B","port":50051,"protocol":"tri"},"g1/com.acme.A:1.0.0:tri":{"group":"g1","name":"com.acme.A","params":{"application":"shop.orders","deprecated":"false","dubbo":"2.0.2","dynamic":"true","generic":"false","group":"g1","interface":"com.acme.A","side":"provider","version":"1.0.0"},"path":"com.acme.A","port":50051,"protocol":"tri","version":"1.0.0"}}}"#;
        assert_eq!(std::str::from_utf8(data).unwrap(), expected);
    }

    /// Consumers find no instance whose port is not the one in its metadata.
    #[test]
    fn each_port_has_its_revision() {
        let target = target(&[("dubbo3", "a.B")]);
        assert_eq!(companions(&*target, &[]).len(), 1);
        let all = companions(&*target, &[1, 2]);
        let revisions: BTreeSet<_> = all[1..].iter().map(|companion| companion.path.name()).collect();
        assert_eq!(revisions.len(), 2);
        for port in [1, 2] {
            let data = leaf(&*target, port, 7).data;
            let data: Value = serde_json::from_slice(&data).unwrap();
            let revision = data["payload"]["metadata"]["dubbo.metadata.revision"].as_str().unwrap();
            assert!(revisions.contains(revision));
        }
    }

    #[test]
    fn a_mistake_is_told_where_it_is_and_leaves_nothing() {
        for (annotations, annotation, part) in [
            (vec![("dubbo3", "")], "dubbo3", "interface"),
            (vec![("dubbo3", "a.B a/B")], "dubbo3", "a/B"),
            (vec![("dubbo3", "a.B"), (APPLICATION, "metadata")], APPLICATION, "itself"),
            (vec![("dubbo3", "a.B"), (APPLICATION, "a,b")], APPLICATION, "letters"),
            (vec![("dubbo3", "a.B"), (APPLICATION, "..")], APPLICATION, "directory"),
            (vec![("dubbo3", "a.B"), (PROTOCOL, "rest")], PROTOCOL, "dubbo, tri"),
            (vec![("dubbo3", "a.B"), (PARAMETERS, "x")], PARAMETERS, "name=value"),
        ] {
            let targets = targets(&annotations);
            let [Err(bad)] = &*targets else { panic!("{targets:?}") };
            assert_eq!(bad.annotation, annotation);
            assert!(bad.reason.to_string().contains(part), "{}", bad.reason);
        }
    }
}
