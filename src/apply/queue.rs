//! Which Service is planned next.

use std::collections::{HashMap, VecDeque};

use crate::model::ServiceKey;

/// Services to be planned; those without a live instance go first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    urgent: VecDeque<ServiceKey>,
    normal: VecDeque<ServiceKey>,
    /// Whether each is urgent. One that became urgent leaves its old place behind, which is passed over.
    queued: HashMap<ServiceKey, bool>,
}

impl Queue {
    /// A Service may be queued again, and become urgent, but not less urgent.
    pub(crate) fn push(&mut self, key: ServiceKey, urgent: bool) {
        let before = self.queued.get(&key).copied();
        if before.is_none_or(|before| urgent && !before) {
            self.queued.insert(key.clone(), urgent);
            if urgent { &mut self.urgent } else { &mut self.normal }.push_back(key);
        }
    }

    /// The first that `may` be taken.
    pub(crate) fn pop(&mut self, may: impl Fn(&ServiceKey) -> bool) -> Option<ServiceKey> {
        for (queue, urgent) in [(&mut self.urgent, true), (&mut self.normal, false)] {
            let queued = &self.queued;
            let is_queued = |key: &ServiceKey| queued.get(key) == Some(&urgent);
            while queue.front().is_some_and(|key| !is_queued(key)) {
                queue.pop_front();
            }
            if let Some(index) = queue.iter().position(|key| is_queued(key) && may(key)) {
                let key = queue.remove(index)?;
                self.queued.remove(&key);
                return Some(key);
            }
        }
        None
    }

    pub(crate) fn len(&self) -> usize {
        self.queued.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urgent_go_first_and_each_once() {
        let key = |name: &str| ServiceKey::new("shop", name);
        let mut queue = Queue::default();
        for (name, urgent) in
            [("a", false), ("b", false), ("c", true), ("b", true), ("b", false), ("c", true)]
        {
            queue.push(key(name), urgent);
        }
        assert_eq!(queue.len(), 3);
        assert_eq!(queue.pop(|it| *it != key("c")), Some(key("b")));
        assert_eq!(queue.pop(|_| true), Some(key("c")));
        assert_eq!(queue.pop(|_| true), Some(key("a")));
        assert_eq!(queue.pop(|_| true), None);
        assert_eq!(queue.len(), 0);
    }
}
