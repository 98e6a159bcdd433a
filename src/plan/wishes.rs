//! How a Service wants to be published: annotations that every format has.
//!
//! Each is there twice: `zoobridge.io/address` for all formats, `zoobridge.io/curator-address` for one, which counts
//! more; and both once more for each view, which counts more than either without one.

use std::time::Duration;

use super::viewed::Viewed;
use crate::format::{BadValue, Drain, Format};
use crate::model::{
    AddressKind, FamilyPolicy, PortChoice, Readiness, Said, Service, Topology, View, ViewName,
};

/// How.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// Which endpoints.
    pub view: View,
    /// What leaves tell of where they run.
    pub topology: Topology,
    /// How long consumers are told to let go of an endpoint before it goes; `None` if it goes at once.
    pub drain: Option<Draining>,
}

/// An annotation, without its prefix, that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadWish {
    /// Which one.
    pub annotation: String,
    /// What is wrong with it.
    pub reason: BadValue,
}

/// How consumers are told to let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draining {
    /// By what.
    pub by: Drain,
    /// For so long at most. The endpoint goes earlier if its pod does.
    pub grace: Duration,
}

/// One of the annotations, without the format in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Port,
    Address,
    Families,
    Readiness,
    Topology,
    Drain,
    DrainGrace,
}

/// What was written for one of them, and under which name.
struct Written<'a> {
    annotation: String,
    value: &'a str,
    /// For this format, and not for all?
    is_own: bool,
}

/// Kubernetes' own default for a pod that is asked to go.
const GRACE: Duration = Duration::from_secs(30);
/// No grace is longer: a pod that does not go in an hour is not going.
const MOST_GRACE: Duration = Duration::from_secs(3600);

impl Wish {
    const ALL: [Wish; 7] = [
        Wish::Port,
        Wish::Address,
        Wish::Families,
        Wish::Readiness,
        Wish::Topology,
        Wish::Drain,
        Wish::DrainGrace,
    ];

    fn name(self) -> &'static str {
        match self {
            Wish::Port => "port",
            Wish::Address => "address",
            Wish::Families => "families",
            Wish::Readiness => "readiness",
            Wish::Topology => "topology",
            Wish::Drain => "drain",
            Wish::DrainGrace => "drain-grace",
        }
    }

    fn written<'s>(self, service: &'s Service, viewed: &Viewed) -> Option<Written<'s>> {
        let own = self.of(viewed.format);
        let of_view = |view: &ViewName| {
            [(own.as_str(), true), (self.name(), false)].into_iter().find_map(|(name, is_own)| {
                let Said { annotation, value } = view.own(&service.annotations, name)?;
                Some(Written { annotation, value, is_own })
            })
        };
        of_view(&viewed.view).or_else(|| of_view(&ViewName::UNNAMED))
    }

    /// What it is called for one format.
    fn of(self, format: Format) -> String {
        format!("{format}-{}", self.name())
    }
}

impl Wishes {
    /// What a Service says for a format in a view.
    ///
    /// # Errors
    /// An annotation makes no sense.
    pub fn of(service: &Service, viewed: &Viewed) -> Result<Wishes, BadWish> {
        let format = viewed.format;
        let written = |wish: Wish| wish.written(service, viewed);
        let address = AddressKind::VIEWS.map(|kind| (kind.name(), kind));
        let view = View {
            port: written(Wish::Port).map_or(PortChoice::Only, |written| port(written.value)),
            address: one_of(written(Wish::Address), &address)?.unwrap_or(AddressKind::Pod),
            families: one_of(written(Wish::Families), &FamilyPolicy::ALL)?.unwrap_or_default(),
            readiness: one_of(written(Wish::Readiness), &Readiness::ALL)?.unwrap_or_default(),
        };
        let topology = written(Wish::Topology).map_or(Ok(Topology::default()), |written| {
            if written.is_own && !format.has_topology() {
                return Err(written.bad(BadValue::NoPlace(format.name())));
            }
            topology(&written)
        })?;
        let by = written(Wish::Drain).map_or(Ok(None), |written| drain(&written, format))?;
        let grace = written(Wish::DrainGrace).map_or(Ok(GRACE), |written| grace(&written))?;
        Ok(Wishes { view, topology, drain: by.map(|by| Draining { by, grace }) })
    }

    /// Is this annotation one of them, for this format?
    #[must_use]
    pub fn are_said_by(annotation: &str, format: Format) -> bool {
        let rest = annotation.strip_prefix(format.name()).and_then(|rest| rest.strip_prefix('-'));
        rest.is_some_and(Self::are_said_for_all_by)
    }

    /// Is this annotation one of them, for all formats?
    #[must_use]
    pub fn are_said_for_all_by(annotation: &str) -> bool {
        Wish::ALL.iter().any(|wish| wish.name() == annotation)
    }

    /// Their names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Wish::ALL.into_iter().map(Wish::name)
    }
}

impl Written<'_> {
    fn bad(&self, reason: BadValue) -> BadWish {
        BadWish { annotation: self.annotation.clone(), reason }
    }

    fn none_of(&self, allowed: &[&str]) -> BadWish {
        let value = crate::format::shortened(self.value);
        self.bad(BadValue::NoneOf { value, allowed: allowed.join(", ") })
    }
}

fn port(text: &str) -> PortChoice {
    match text.parse() {
        Ok(number) if number > 0 => PortChoice::Numbered(number),
        _ => PortChoice::Named(text.to_owned()),
    }
}

fn one_of<T: Copy>(written: Option<Written<'_>>, known: &[(&str, T)]) -> Result<Option<T>, BadWish> {
    let Some(written) = written else { return Ok(None) };
    match known.iter().find(|(name, _)| *name == written.value) {
        Some((_, value)) => Ok(Some(*value)),
        None => Err(written.none_of(&known.iter().map(|(name, _)| *name).collect::<Vec<_>>())),
    }
}

fn topology(written: &Written<'_>) -> Result<Topology, BadWish> {
    let mut topology = Topology::default();
    for name in written.value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match name {
            "zone" => topology.zone = true,
            "node" => topology.node = true,
            "hints" => topology.hints = true,
            _ => return Err(written.none_of(&["zone", "node", "hints"])),
        }
    }
    Ok(topology)
}

/// What is said for all formats counts where a format has it; the others let go at once.
fn drain(written: &Written<'_>, format: Format) -> Result<Option<Drain>, BadWish> {
    let known = [("remove", None), ("weight", Some(Drain::Weight)), ("disable", Some(Drain::Disable))];
    let has = |by: Option<Drain>| by.is_none_or(|by| format.drains().contains(&by));
    match known.iter().find(|(name, _)| *name == written.value) {
        Some((_, by)) if has(*by) => Ok(*by),
        Some(_) if !written.is_own => Ok(None),
        _ => {
            let allowed = known.iter().filter(|(_, by)| !written.is_own || has(*by)).map(|(name, _)| *name);
            Err(written.none_of(&allowed.collect::<Vec<_>>()))
        }
    }
}

fn grace(written: &Written<'_>) -> Result<Duration, BadWish> {
    let parsed =
        written.value.parse().ok().and_then(|span: jiff::SignedDuration| Duration::try_from(span).ok());
    parsed
        .filter(|grace| *grace <= MOST_GRACE)
        .ok_or_else(|| written.bad(BadValue::Grace(crate::format::shortened(written.value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(annotations: &[(&str, &str)], format: Format) -> Result<Wishes, String> {
        let error = |BadWish { annotation, reason }| format!("{annotation}: {reason}");
        let viewed = Viewed { view: ViewName::UNNAMED, format };
        Wishes::of(&Service::sample(annotations, vec![]), &viewed).map_err(error)
    }

    #[test]
    fn who_says_nothing_gets_ready_pods_as_always() {
        let view = View {
            port: PortChoice::Only,
            address: AddressKind::Pod,
            families: FamilyPolicy::PreferIpv4,
            readiness: Readiness::Ready,
        };
        for format in Format::ALL {
            let expected = Wishes { view: view.clone(), topology: Topology::default(), drain: None };
            assert_eq!(wishes(&[], format), Ok(expected));
        }
    }

    #[test]
    fn what_is_said_for_one_format_counts_more_than_what_is_said_for_all() {
        let annotations = [
            ("address", "node"),
            ("curator-address", "pod"),
            ("families", "both"),
            ("dubbo-families", "ipv4"),
            ("port", "http"),
            ("spring-port", "81"),
            ("topology", "zone, node"),
            ("spring-topology", "hints"),
        ];
        let of = |format| wishes(&annotations, format).unwrap();
        let addresses = [of(Format::Curator), of(Format::Dubbo)].map(|wishes| wishes.view.address);
        assert_eq!(addresses, [AddressKind::Pod, AddressKind::Node]);
        let families = [of(Format::Curator), of(Format::Dubbo)].map(|wishes| wishes.view.families);
        assert_eq!(families, [FamilyPolicy::Both, FamilyPolicy::Ipv4]);
        let ports = [of(Format::Spring), of(Format::Nerve)].map(|wishes| wishes.view.port);
        assert_eq!(ports, [PortChoice::Numbered(81), PortChoice::Named("http".to_owned())]);
        let topology = [of(Format::Spring), of(Format::Dubbo)].map(|wishes| wishes.topology);
        let [hints, places] = topology;
        assert_eq!(hints, Topology { zone: false, node: false, hints: true });
        assert_eq!(places, Topology { zone: true, node: true, hints: false });
    }

    #[test]
    fn what_a_view_says_counts_more_than_what_is_said_without_one() {
        let annotations = [
            ("curator-address", "pod"),
            ("address", "node"),
            ("outside.address", "load-balancer"),
            ("outside.spring-address", "external-ip"),
            ("inside.port", "http"),
        ];
        let service = Service::sample(&annotations, vec![]);
        let of = |view: &str, format| {
            let (view, _) = ViewName::of(view).unwrap();
            Wishes::of(&service, &Viewed { view, format }).unwrap().view
        };
        let address = |view, format| of(view, format).address;
        assert_eq!(address("outside.", Format::Curator), AddressKind::LoadBalancer);
        assert_eq!(address("outside.", Format::Spring), AddressKind::ExternalIp);
        assert_eq!(address("inside.", Format::Curator), AddressKind::Pod);
        assert_eq!(address("inside.", Format::Spring), AddressKind::Node);
        assert_eq!(address("", Format::Spring), AddressKind::Node);
        assert_eq!(of("inside.", Format::Spring).port, PortChoice::Named("http".to_owned()));
        assert_eq!(of("outside.", Format::Spring).port, PortChoice::Only);
    }

    #[test]
    fn a_format_drains_as_it_can() {
        let by = |annotations: &[(&str, &str)], format| {
            wishes(annotations, format)
                .map(|wishes| wishes.drain.map(|drain| (drain.by, drain.grace.as_secs())))
        };
        let all = [("drain", "disable")];
        assert_eq!(by(&all, Format::Curator), Ok(Some((Drain::Disable, 30))));
        assert_eq!(by(&all, Format::Serverset), Ok(None), "it goes at once");
        let graced = [("drain", "weight"), ("drain-grace", "1m 5s"), ("dubbo-drain-grace", "7s")];
        assert_eq!(by(&graced, Format::Dubbo), Ok(Some((Drain::Weight, 7))));
        assert_eq!(by(&graced, Format::Spring), Ok(None));
        assert_eq!(by(&[("curator-drain", "remove"), ("drain", "disable")], Format::Curator), Ok(None));
    }

    /// The first column of the table in `docs/services.md`, and every word in its second one, is one that is understood.
    #[test]
    fn the_documentation_names_what_there_is() {
        let text = include_str!("../../docs/services.md");
        let table = text.split("\n\n").find(|part| part.starts_with("| annotation |")).unwrap();
        let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let rows: Vec<_> = table
            .lines()
            .skip(2)
            .map(|line| line.split('|').skip(1).map(words).collect::<Vec<_>>())
            .collect();
        let names: Vec<_> = rows.iter().map(|row| row[0][0].as_str()).collect();
        assert_eq!(names, Wishes::names().collect::<Vec<_>>());
        for row in &rows {
            for value in row[1].iter().chain(&row[2]) {
                let said = wishes(&[(&row[0][0], value)], Format::Dubbo);
                assert!(said.is_ok(), "{}: {value}: {said:?}", row[0][0]);
            }
            // Who writes the default says nothing.
            if let [default] = row[2].as_slice() {
                assert_eq!(wishes(&[(&row[0][0], default)], Format::Dubbo), wishes(&[], Format::Dubbo));
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_by_its_name_with_what_there_is() {
        for (annotation, value, format, part) in [
            ("address", "custom", Format::Curator, "pod, node, load-balancer, cluster-ip, external-ip"),
            ("curator-address", "", Format::Curator, "pod, node"),
            ("families", "v4", Format::Dubbo, "prefer-ipv4, prefer-ipv6, ipv4, ipv6, both"),
            ("readiness", "yes", Format::Dubbo, "ready, serving, proxy"),
            ("topology", "zone;node", Format::Dubbo, "zone, node, hints"),
            ("curator-topology", "zone", Format::Curator, "no place"),
            ("drain", "no", Format::Dubbo, "remove, weight, disable"),
            ("curator-drain", "weight", Format::Curator, "remove, disable"),
            ("drain-grace", "soon", Format::Dubbo, "30s"),
            ("drain-grace", "61m", Format::Dubbo, "1h"),
            ("drain-grace", "-1s", Format::Dubbo, "30s"),
        ] {
            let error = wishes(&[(annotation, value)], format).unwrap_err();
            assert!(error.starts_with(&format!("{annotation}: ")) && error.contains(part), "{error}");
        }
        let long = "x".repeat(10_000);
        for wish in Wishes::names().filter(|name| *name != "port") {
            let error = wishes(&[(wish, &long)], Format::Dubbo).unwrap_err();
            assert!(error.len() < 400, "{wish}: {} bytes", error.len());
        }
    }
}
