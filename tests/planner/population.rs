//! Thousands of Services in hundreds of namespaces, with annotations that make sense and ones that do not, and what
//! must become of each. Drawn from a seed.

use serde_json::{Value, json};

/// The rules that they live under: names begin with the namespace, addresses are those of pods and, since nobody here
/// runs pods, those of slices that we write for Services that are named for it.
pub(crate) const RULES: &str = "\
- formats: [curator, dubbo, spring, serverset, nerve, hostport]
- services: ['*-custom']
  formats: [curator, dubbo, spring, serverset, nerve, hostport]
  addresses: [custom]
";

/// One Service.
pub(crate) struct Tenant {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) annotations: Vec<(String, String)>,
    /// The address of its one endpoint.
    pub(crate) ip: String,
    /// Leaves that must be there; of Dubbo's only the directory, since the name is long.
    pub(crate) leaves: Vec<String>,
    /// The reason of the Event that it must have, and a part of its note.
    pub(crate) refusal: Option<(&'static str, String)>,
    /// Is it an ExternalName Service of this name?
    pub(crate) external: Option<&'static str>,
}

/// So many Services in so many namespaces.
pub(crate) fn tenants(services: usize, namespaces: usize) -> Vec<Tenant> {
    let mut random = fastrand::Rng::with_seed(20_261_128);
    (0..services).map(|number| tenant(&mut random, number, number % namespaces, namespaces)).collect()
}

fn tenant(random: &mut fastrand::Rng, number: usize, place: usize, namespaces: usize) -> Tenant {
    let namespace = format!("ns{place}");
    let ip = format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
    let mut tenant = Tenant {
        name: format!("s{number}-custom"),
        annotations: Vec::new(),
        leaves: Vec::new(),
        refusal: None,
        external: None,
        namespace: namespace.clone(),
        ip: ip.clone(),
    };
    let own = format!("{namespace}.s{number}");
    let leaf = format!("{ip}:8080");
    match random.u8(..7) {
        0 => tenant.wants("curator", &own, format!("/services/{own}/{leaf}")),
        1 => tenant.wants("spring", &own, format!("/services/{own}/{leaf}")),
        2 => tenant.wants(
            "hostport",
            &format!("{namespace}/s{number}"),
            format!("/hosts/{namespace}/s{number}/{leaf}"),
        ),
        3 => tenant.wants(
            "dubbo",
            &format!("{namespace}.S{number}:1.0.0"),
            format!("/dubbo/{namespace}.S{number}/providers"),
        ),
        4 => {
            tenant.wants("curator", &own, format!("/services/{own}/{leaf}"));
            tenant.wants("hostport", &own, format!("/hosts/{own}/{leaf}"));
        }
        // Two views.
        5 => {
            tenant.wants("curator", &own, format!("/services/{own}/{leaf}"));
            tenant.wants("second.curator", &format!("{own}-2"), format!("/services/{own}-2/{ip}:9090"));
            tenant.says("second.port", "admin");
        }
        // It asks for nothing that it may have.
        _ => {}
    }
    if random.u8(..10) < 5 || tenant.annotations.is_empty() {
        tenant.errs(random, number, &format!("ns{}", (place + 1) % namespaces));
    }
    tenant
}

impl Tenant {
    fn wants(&mut self, annotation: &str, value: &str, leaf: String) {
        self.says(annotation, value);
        self.leaves.push(leaf);
    }

    fn says(&mut self, annotation: &str, value: &str) {
        self.annotations.push((annotation.to_owned(), value.to_owned()));
    }

    /// One mistake or abuse, in a format that it does not use otherwise, so that the rest must be right.
    fn errs(&mut self, random: &mut fastrand::Rng, number: usize, other: &str) {
        let own = format!("{}.n{number}", self.namespace);
        let (reason, part) = match random.u8(..17) {
            0 => {
                self.says("nerve", "payments");
                ("NotGranted", "payments".to_owned())
            }
            1 => {
                self.says("nerve", &format!("{other}.stolen"));
                ("NotGranted", format!("{other}.stolen"))
            }
            2 => {
                self.says("nerve", &format!("{other}/stolen"));
                ("NotGranted", format!("{other}/stolen"))
            }
            3 => {
                self.says("nerve", "a//b");
                ("BadAnnotation", "a//b".to_owned())
            }
            4 => {
                self.says(&format!("x{number}"), "1");
                ("UnknownAnnotation", format!("zoobridge.io/x{number}"))
            }
            5 => {
                self.says("nerve", &own);
                self.says("nerve-port", "grpc");
                ("PortNotFound", "grpc".to_owned())
            }
            6 => {
                self.says("nerve", &own);
                self.says("nerve-address", "node");
                ("AddressNotGranted", "node".to_owned())
            }
            7 => {
                self.says("nerve", &own);
                self.says("nerve-address", "external-ip");
                ("AddressNotGranted", "external-ip".to_owned())
            }
            8 => {
                self.says("serverset-port", "http");
                ("BadAnnotation", "zoobridge.io/serverset".to_owned())
            }
            9 => {
                self.says("nerve", &own);
                self.says("nerve-families", "ipv5");
                ("BadAnnotation", "ipv5".to_owned())
            }
            10 => {
                self.says("nerve", &"x".repeat(random.usize(256..4_000)));
                ("BadAnnotation", "255".to_owned())
            }
            11 => {
                self.says("outside.nerve", &format!("{other}.stolen"));
                ("NotGranted", format!("{other}.stolen"))
            }
            12 => {
                self.says("outside.nerve", &own);
                self.says("outside.address", "load-balancer");
                ("AddressNotGranted", "outside.nerve with addresses of kind load-balancer".to_owned())
            }
            13 => {
                self.says("outsid.address", "pod");
                ("BadAnnotation", "zoobridge.io/outsid.address".to_owned())
            }
            14 => {
                self.says("a.spring", &own);
                self.says("b.spring", &own);
                self.leaves.push(format!("/services/{own}/{}:8080", self.ip));
                ("Conflict", "zoobridge.io/a.spring".to_owned())
            }
            15 => {
                self.external = Some("pay.example");
                if self.annotations.is_empty() {
                    self.says("nerve", &own);
                }
                self.leaves.clear();
                ("AddressNotGranted", "external-name".to_owned())
            }
            // A Service of the same whose name is not granted the addresses that somebody wrote.
            _ => {
                self.name = format!("s{number}-plain");
                if self.annotations.is_empty() {
                    self.says("nerve", &own);
                }
                self.leaves.clear();
                ("AddressNotGranted", "custom".to_owned())
            }
        };
        self.refusal = Some((reason, part));
    }

    pub(crate) fn service(&self) -> Value {
        let http = ("port".to_owned(), "http".to_owned());
        let annotations: serde_json::Map<_, _> = self
            .annotations
            .iter()
            .chain([&http])
            .map(|(name, value)| (format!("zoobridge.io/{name}"), value.clone().into()))
            .collect();
        let ports = json!([{"name": "http", "port": 80}, {"name": "admin", "port": 81}]);
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": self.name, "namespace": self.namespace, "annotations": annotations,
            },
            "spec": match self.external {
                Some(name) => json!({"type": "ExternalName", "externalName": name, "ports": ports}),
                None => json!({"ports": ports}),
            },
        })
    }

    pub(crate) fn slice(&self) -> Value {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": format!("{}-1", self.name), "namespace": self.namespace,
                "labels": {"kubernetes.io/service-name": self.name},
            },
            "endpoints": [{"addresses": [self.ip]}],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "admin", "port": 9090, "protocol": "TCP"}],
        })
    }
}
