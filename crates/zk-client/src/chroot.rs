//! A session below a prefix: paths get it on the way out and lose it on the way in.

use zk_wire::multi::{MultiResult, ReadOp, WriteOp};
use zk_wire::reply::Response;
use zk_wire::request::Request;

/// The prefix; empty for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chroot(String);

impl Chroot {
    /// A chroot at `path`; `/` and the empty string mean none.
    pub(crate) fn new(path: &str) -> Self {
        Chroot(path.trim_end_matches('/').to_owned())
    }

    /// The path as the server knows it.
    pub(crate) fn outward(&self, path: &mut String) {
        if self.0.is_empty() {
            return;
        }
        if path == "/" {
            path.clone_from(&self.0);
        } else {
            path.insert_str(0, &self.0);
        }
    }

    /// The path as the owner knows it. One outside the chroot stays as it is; then this is false.
    pub(crate) fn inward(&self, path: &mut String) -> bool {
        if self.0.is_empty() {
            return true;
        }
        if !is_below(path, &self.0) {
            return false;
        }
        path.drain(..self.0.len());
        if path.is_empty() {
            path.push('/');
        }
        true
    }

    /// Prefixes every path of a request.
    pub(crate) fn request(&self, request: &mut Request) {
        if !self.0.is_empty() {
            for path in paths_mut(request) {
                self.outward(path);
            }
        }
    }

    /// Strips every path of a response. Of a list of paths, those outside are left out: servers compare the
    /// prefix of getEphemerals with characters, not with components.
    pub(crate) fn response(&self, response: &mut Response, are_paths: bool) {
        if self.0.is_empty() {
            return;
        }
        match response {
            Response::Path(r) => {
                self.inward(&mut r.path);
            }
            Response::Create2(r) => {
                self.inward(&mut r.path);
            }
            Response::Strings(r) if are_paths => r.strings.retain_mut(|path| self.inward(path)),
            Response::Multi(results) => {
                for result in &mut results.0 {
                    if let MultiResult::Create(path) | MultiResult::Create2(path, _) = result {
                        self.inward(path);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Is a path the prefix itself, or below it?
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The paths that a request names.
pub(crate) fn paths_mut(request: &mut Request) -> Vec<&mut String> {
    match request {
        Request::Create(r) | Request::Create2(r) | Request::CreateContainer(r) => vec![&mut r.path],
        Request::CreateTtl(r) => vec![&mut r.path],
        Request::Delete(r) => vec![&mut r.path],
        Request::Exists(r) | Request::GetData(r) | Request::GetChildren(r) | Request::GetChildren2(r) => {
            vec![&mut r.path]
        }
        Request::SetData(r) => vec![&mut r.path],
        Request::SetAcl(r) => vec![&mut r.path],
        Request::DeleteContainer(r)
        | Request::GetAcl(r)
        | Request::Sync(r)
        | Request::GetEphemerals(r)
        | Request::GetAllChildrenNumber(r) => vec![&mut r.path],
        Request::Check(r) => vec![&mut r.path],
        Request::Multi(ops) => ops.iter_mut().map(write_path_mut).collect(),
        Request::MultiRead(ops) => ops
            .iter_mut()
            .map(|op| match op {
                ReadOp::GetData(r) | ReadOp::GetChildren(r) => &mut r.path,
            })
            .collect(),
        Request::CheckWatches(r) | Request::RemoveWatches(r) => vec![&mut r.path],
        Request::AddWatch(r) => vec![&mut r.path],
        Request::SetWatches(r) => {
            [&mut r.data, &mut r.exist, &mut r.child].into_iter().flat_map(|paths| paths.iter_mut()).collect()
        }
        Request::SetWatches2(r) => {
            [&mut r.data, &mut r.exist, &mut r.child, &mut r.persistent, &mut r.persistent_recursive]
                .into_iter()
                .flat_map(|paths| paths.iter_mut())
                .collect()
        }
        Request::Ping
        | Request::Reconfig(_)
        | Request::Auth(_)
        | Request::Sasl(_)
        | Request::WhoAmI
        | Request::CloseSession => Vec::new(),
    }
}

fn write_path_mut(op: &mut WriteOp) -> &mut String {
    match op {
        WriteOp::Create(r) | WriteOp::Create2(r) | WriteOp::CreateContainer(r) => &mut r.path,
        WriteOp::CreateTtl(r) => &mut r.path,
        WriteOp::Delete(r) => &mut r.path,
        WriteOp::SetData(r) => &mut r.path,
        WriteOp::Check(r) => &mut r.path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_out_and_comes_back() {
        for (chroot, own, servers) in
            [("/a/b", "/", "/a/b"), ("/a/b", "/c", "/a/b/c"), ("", "/c", "/c"), ("/", "/", "/")]
        {
            let chroot = Chroot::new(chroot);
            let mut path = own.to_owned();
            chroot.outward(&mut path);
            assert_eq!(path, servers);
            assert!(chroot.inward(&mut path));
            assert_eq!(path, own);
        }
    }

    #[test]
    fn a_path_outside_stays_as_it_is() {
        let chroot = Chroot::new("/a/b");
        for outside in ["/a/bc", "/a/bc/d", "/a", "/", "/x/a/b", ""] {
            let mut path = outside.to_owned();
            assert!(!chroot.inward(&mut path), "{outside}");
            assert_eq!(path, outside);
        }
    }

    #[test]
    fn below_means_by_components() {
        for (path, prefix) in [("/a", "/"), ("/", "/"), ("/a", "/a"), ("/a/b", "/a"), ("/a/b", "/a/")] {
            assert!(is_below(path, prefix), "{path} {prefix}");
        }
        for (path, prefix) in [("/ab", "/a"), ("/", "/a"), ("/b", "/a")] {
            assert!(!is_below(path, prefix), "{path} {prefix}");
        }
    }
}
