//! What is particular about one format: each file of this module implements these two.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use zk_wire::path::PathError;

use super::name::{NameError, check_nested, check_single};
use super::registered::{Registered, Unreadable};
use super::{BadValue, Drain, Instance, Leaf, shortened};
use crate::model::{Companion, Host, Service, ViewName, ZnodePath};

/// One format.
pub(super) trait Definition: Sync {
    /// Where it lives, unless the configuration says otherwise.
    fn root(&self) -> &'static str;

    /// The format below whose root its leaves have companions, if they have any but their directory.
    fn beside(&self) -> Option<super::Format> {
        None
    }

    /// Annotations that say how, beside the one that has the format's name and those that every format has.
    fn options(&self) -> &'static [&'static str] {
        &[]
    }

    /// Can a Service be published under its own name, without being asked?
    fn has_own_name(&self) -> bool {
        true
    }

    /// How it can tell consumers to let go of an endpoint that is still there. Not one that this does not name.
    fn drains(&self) -> &'static [Drain] {
        &[]
    }

    /// Has it a place for where an endpoint runs?
    fn has_topology(&self) -> bool {
        false
    }

    /// The directories that a Service wants to fill.
    fn targets(&self, asked: &Asking<'_>) -> Vec<Result<Box<dyn Target>, BadAnnotation>>;

    /// The address or name that a leaf's name gives; `None` if this format would not have written it.
    fn host(&self, leaf: &str) -> Option<Host>;

    /// The service whose instances are below this child of the root; `None` if there are none.
    fn service_of(&self, child: &str) -> Option<String> {
        Some(child.to_owned())
    }

    /// Between a service's znode and its instances.
    fn between(&self) -> Option<&'static str> {
        None
    }

    /// Is an instance what its znode's name says, and not the data?
    fn is_in_the_name(&self) -> bool {
        false
    }

    /// Reads what somebody registered.
    ///
    /// # Errors
    /// See [`Unreadable`].
    fn registered(&self, service: &str, name: &str, data: &[u8]) -> Result<Registered, Unreadable>;
}

/// One directory that a Service wants to fill.
pub trait Target: fmt::Debug + Send + Sync {
    /// The name that a rule must grant.
    fn name(&self) -> &str;

    /// Every name that a rule must grant: whoever may write under it could take the calls of others.
    fn claims(&self) -> Vec<&str> {
        vec![self.name()]
    }

    /// Those of its parameters, as the Service says them, that a rule must grant: they change what consumers do.
    fn parameters(&self) -> &[String] {
        &[]
    }

    /// Which service its consumers find in its directory; see [`Registered::service`].
    fn service(&self) -> Cow<'_, str> {
        self.name().into()
    }

    /// Where its leaves are.
    ///
    /// # Errors
    /// ZooKeeper would not accept the path.
    fn directory(&self, root: &ZnodePath) -> Result<ZnodePath, PathError>;

    /// What its consumers need beside its directory and the leaves there: below the root that `Definition::beside`
    /// names, for instances on these ports.
    ///
    /// # Errors
    /// ZooKeeper would not accept a path.
    fn companions(
        &self,
        _directory: &ZnodePath,
        _beside: &ZnodePath,
        _ports: &BTreeSet<u16>,
    ) -> Result<Vec<Companion>, PathError> {
        Ok(Vec::new())
    }

    /// The leaf of an endpoint.
    ///
    /// # Errors
    /// Consumers of the format would fail on an IPv6 address.
    fn leaf(&self, instance: &Instance<'_>) -> Result<Leaf, NoIpv6>;
}

/// IPv6 addresses break consumers of this format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoIpv6;

/// An annotation that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAnnotation {
    /// Which one, without its prefix and the name of a view.
    pub annotation: &'static str,
    /// What is wrong with it.
    pub reason: BadValue,
}

/// What a Service says about one format.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The value of the format's annotation; empty if the Service is published without one.
    pub value: &'a str,
    /// The Service.
    pub service: &'a Service,
    /// In which of its views.
    pub view: &'a ViewName,
}

impl<'a> Asking<'a> {
    /// Another annotation of the Service's, as its view reads it.
    pub(super) fn option(&self, annotation: &str) -> Option<&'a str> {
        self.view.said(&self.service.annotations, annotation).map(|said| said.value)
    }

    /// The one directory of a format that names it by one component, by default the Service's name.
    pub(super) fn single<T: Target + 'static>(
        &self,
        annotation: &'static str,
        target: impl FnOnce(String) -> T,
    ) -> Vec<Result<Box<dyn Target>, BadAnnotation>> {
        self.named(annotation, check_single, target)
    }

    /// The same for a format whose names may have several components.
    pub(super) fn nested<T: Target + 'static>(
        &self,
        annotation: &'static str,
        target: impl FnOnce(String) -> T,
    ) -> Vec<Result<Box<dyn Target>, BadAnnotation>> {
        self.named(annotation, check_nested, target)
    }

    fn named<T: Target + 'static>(
        &self,
        annotation: &'static str,
        check: fn(&str) -> Result<(), NameError>,
        target: impl FnOnce(String) -> T,
    ) -> Vec<Result<Box<dyn Target>, BadAnnotation>> {
        let name = if self.value.is_empty() { &self.service.key.name } else { self.value };
        let found = match check(name) {
            Ok(()) => Ok(Box::new(target(name.to_owned())) as Box<dyn Target>),
            Err(reason) => Err(BadAnnotation {
                annotation,
                reason: BadValue::Name { name: shortened(name), reason: reason.to_string() },
            }),
        };
        vec![found]
    }
}
