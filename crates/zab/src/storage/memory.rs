//! A file system in memory that forgets in a crash what was not synced, and the storage on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zk_wire::ids::Zxid;

use super::disk::{Disk, DiskFile};
use super::disk_storage::DiskStorage;
use super::error::{Operation, StorageError};
use super::{Purger, Restore, SnapshotSink, Storage, StorageOptions};

/// [`DiskStorage`] on a [`MemoryDisk`]: the same code and the same files.
pub struct MemoryStorage(DiskStorage);

impl MemoryStorage {
    /// As [`DiskStorage::open`]. Of the pre-allocation at most 64 KiB are done, since memory is dear.
    ///
    /// # Errors
    /// As there; a disk that is in use is locked until its storage is dropped or it crashes.
    pub fn open(
        disk: &MemoryDisk,
        options: StorageOptions,
        restore: &mut dyn Restore,
    ) -> Result<(MemoryStorage, Zxid), StorageError> {
        let options =
            StorageOptions { pre_alloc_bytes: options.pre_alloc_bytes.min(MAX_PRE_ALLOC), ..options };
        let directory = Path::new(MemoryDisk::DIRECTORY);
        let (storage, last) = DiskStorage::open_on(disk.mount(), directory, directory, options, restore)?;
        Ok((MemoryStorage(storage), last))
    }
}

impl Storage for MemoryStorage {
    fn append(&mut self, zxid: Zxid, entry: &[u8]) -> Result<(), StorageError> {
        self.0.append(zxid, entry)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.0.sync()
    }

    fn roll(&mut self) -> Result<(), StorageError> {
        self.0.roll()
    }

    fn snapshot_writer(&self, zxid: Zxid) -> Result<Box<dyn SnapshotSink>, StorageError> {
        self.0.snapshot_writer(zxid)
    }

    fn purger(&self) -> Purger {
        self.0.purger()
    }

    fn truncate(&mut self, zxid: Zxid, restore: &mut dyn Restore) -> Result<(), StorageError> {
        self.0.truncate(zxid, restore)
    }
}

/// A disk that outlives those who use it; clones are the same disk.
///
/// A file's content is durable once it was synced, a name once its directory was. [`crash`](Self::crash)
/// forgets the rest, and whoever used the disk before gets errors from then on.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

impl MemoryDisk {
    /// The data directory of a [`MemoryStorage`].
    pub const DIRECTORY: &'static str = "/data";

    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The power fails: everything not synced is gone.
    pub fn crash(&self) {
        self.crash_keeping(0);
    }

    /// The power fails while the disk is busy: of the bytes written to each file since its last sync, the
    /// first `bytes` are there.
    pub fn crash_keeping(&self, bytes: usize) {
        self.state().crash(bytes);
    }

    /// The power fails while the disk is busy, and chance decides what it has done: each sector that was written
    /// and not synced is there or is zeros, each name that was changed is as before or as after. The same seed
    /// gives the same disk.
    pub fn crash_at_random(&self, seed: u64) {
        self.state().crash_at_random(seed);
    }

    /// Lets something happen to the operation that changes the disk and that follows after so many others of its
    /// like.
    pub fn strike(&self, after: u64, how: Strike) {
        self.state().strike = Some((after, how));
    }

    /// Another disk with the same files, as durable as they are here, that nobody uses.
    #[must_use]
    pub fn copy(&self) -> MemoryDisk {
        let mut state = self.state().clone();
        state.locks.clear();
        state.faults.clear();
        (state.strike, state.struck) = (None, None);
        MemoryDisk(Arc::new(Mutex::new(state)))
    }

    /// Operations that change the disk, so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Which operation [`strike`](Self::strike) has hit, if it has.
    #[must_use]
    pub fn struck(&self) -> Option<Operation> {
        self.state().struck
    }

    /// How many times a file was synced.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Lets an operation fail once, after so many more of its kind have succeeded. A failing write leaves half
    /// of its bytes.
    pub fn fail(&self, operation: Operation, after: usize, error: io::ErrorKind) {
        let fault = Fault { operation, after, error };
        self.state().faults.push(fault);
    }

    /// Limits what all files together may hold; `None` is no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// The names of all files with what they hold, durable or not.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let files = state.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::Directory => None,
            Entry::File(inode) => Some((path.clone(), state.inodes[inode].live.clone())),
        });
        files.collect()
    }

    /// Puts a durable file in place, in a directory that may not be there yet.
    pub fn put(&self, path: &Path, content: &[u8]) {
        let mut state = self.state();
        for directory in path.ancestors().skip(1) {
            state.entries.insert(directory.to_owned(), Entry::Directory);
            state.durable.insert(directory.to_owned(), Entry::Directory);
        }
        let entry = state.new_inode(content);
        state.entries.insert(path.to_owned(), entry);
        state.durable.insert(path.to_owned(), entry);
    }

    /// The disk for one user, until the next crash.
    #[must_use]
    pub fn mount(&self) -> Arc<dyn Disk> {
        let generation = self.state().generation;
        Arc::new(Mount { disk: self.clone(), generation })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// The power fails meanwhile, as in [`MemoryDisk::crash_at_random`] with this seed.
    Crash(u64),
    /// It fails. A write leaves half of its bytes.
    Error(io::ErrorKind),
}

#[derive(Debug, Default, Clone)]
struct State {
    entries: BTreeMap<PathBuf, Entry>,
    /// The entries that a crash leaves.
    durable: BTreeMap<PathBuf, Entry>,
    /// What was done to names since their directory was synced.
    unsynced: Vec<NameChange>,
    changes: u64,
    strike: Option<(u64, Strike)>,
    struck: Option<Operation>,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    locks: BTreeSet<PathBuf>,
    faults: Vec<Fault>,
    syncs: u64,
    /// How many bytes all files may have.
    capacity: Option<u64>,
    /// Crashes so far.
    generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Directory,
    File(u64),
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(PathBuf, Entry),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, Entry),
}

impl NameChange {
    /// Both names of a rename are in one directory.
    fn path(&self) -> &Path {
        match self {
            NameChange::Link(path, _) | NameChange::Unlink(path) | NameChange::Rename(_, path, _) => path,
        }
    }
}

/// Chance that can be repeated (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }
}

#[derive(Debug, Clone)]
struct Fault {
    operation: Operation,
    after: usize,
    error: io::ErrorKind,
}

/// A file's content. In front of `dirty_from`, `live` and `durable` are the same.
#[derive(Debug, Default, Clone)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty_from: Option<usize>,
}

impl State {
    fn new_inode(&mut self, content: &[u8]) -> Entry {
        let inode = Inode { live: content.to_vec(), durable: content.to_vec(), dirty_from: None };
        self.next_inode += 1;
        self.inodes.insert(self.next_inode, inode);
        Entry::File(self.next_inode)
    }

    fn crash(&mut self, keep: usize) {
        for inode in self.inodes.values_mut() {
            inode.crash(keep);
        }
        self.restart();
    }

    fn crash_at_random(&mut self, seed: u64) {
        let mut chance = Chance(seed);
        for inode in self.inodes.values_mut() {
            inode.crash_at_random(&mut chance);
        }
        for change in std::mem::take(&mut self.unsynced) {
            if chance.coin() {
                self.make_durable(change);
            }
        }
        self.restart();
    }

    fn make_durable(&mut self, change: NameChange) {
        match change {
            NameChange::Link(path, entry) => drop(self.durable.insert(path, entry)),
            NameChange::Unlink(path) => drop(self.durable.remove(&path)),
            NameChange::Rename(from, to, entry) => {
                self.durable.remove(&from);
                self.durable.insert(to, entry);
            }
        }
    }

    /// What is durable is what there is.
    fn restart(&mut self) {
        self.entries = self.durable.clone();
        self.unsynced.clear();
        self.forget_unnamed();
        self.locks.clear();
        self.faults.clear();
        self.strike = None;
        self.generation += 1;
    }

    /// Counts an operation that changes the disk; says what happens to it.
    fn change(&mut self, operation: Operation) -> Option<Strike> {
        self.changes += 1;
        match &mut self.strike {
            Some((0, how)) => {
                let how = *how;
                (self.strike, self.struck) = (None, Some(operation));
                Some(how)
            }
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }

    /// Frees what no name leads to. Only after a crash, since files may be open otherwise.
    fn forget_unnamed(&mut self) {
        let named: BTreeSet<u64> = self
            .entries
            .values()
            .filter_map(|entry| match entry {
                Entry::Directory => None,
                Entry::File(inode) => Some(*inode),
            })
            .collect();
        self.inodes.retain(|inode, _| named.contains(inode));
    }

    /// Does this operation fail?
    fn fault(&mut self, operation: Operation) -> io::Result<()> {
        let mut failed = None;
        self.faults.retain_mut(|fault| {
            if fault.operation != operation || failed.is_some() {
                return true;
            }
            if fault.after == 0 {
                failed = Some(fault.error);
                return false;
            }
            fault.after -= 1;
            true
        });
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn free(&self) -> u64 {
        let used: usize = self.inodes.values().map(|inode| inode.live.len()).sum();
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(used as u64))
    }

    /// Is there space for a file to become so long?
    fn has_space(&self, inode: u64, len: usize) -> io::Result<()> {
        let now = self.inodes.get(&inode).map_or(0, |inode| inode.live.len());
        if len.saturating_sub(now) as u64 > self.free() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn file(&self, path: &Path) -> io::Result<u64> {
        match self.entries.get(path) {
            Some(Entry::File(inode)) => Ok(*inode),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn inode(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&inode).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        self.dirty(offset.min(self.live.len()));
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        self.live[offset..end].copy_from_slice(bytes);
    }

    fn resize(&mut self, len: usize) {
        self.dirty(len.min(self.live.len()));
        self.live.resize(len, 0);
    }

    fn dirty(&mut self, from: usize) {
        self.dirty_from = Some(self.dirty_from.map_or(from, |before| before.min(from)));
    }

    fn sync(&mut self) {
        if let Some(from) = self.dirty_from.take() {
            self.durable.truncate(from);
            self.durable.extend_from_slice(&self.live[from..]);
        }
    }

    fn crash_at_random(&mut self, chance: &mut Chance) {
        if let Some(from) = self.dirty_from.take() {
            if self.live.len() < self.durable.len() && chance.coin() {
                self.durable.truncate(self.live.len());
            }
            // A sector that was synced in part is written as a whole.
            let mut at = from - from % SECTOR;
            while at < self.live.len() {
                let end = (at + SECTOR).min(self.live.len());
                if chance.coin() {
                    self.durable.resize(self.durable.len().max(end), 0);
                    self.durable[at..end].copy_from_slice(&self.live[at..end]);
                }
                at = end;
            }
        }
        self.live.clone_from(&self.durable);
    }

    fn crash(&mut self, keep: usize) {
        if let Some(from) = self.dirty_from.take() {
            let end = from.saturating_add(keep).min(self.live.len());
            let kept = self.durable.len().max(end);
            self.durable.resize(kept, 0);
            self.durable[from..end].copy_from_slice(&self.live[from..end]);
        }
        self.live.clone_from(&self.durable);
    }
}

/// One user's view of a disk.
#[derive(Debug, Clone)]
struct Mount {
    disk: MemoryDisk,
    generation: u64,
}

impl Mount {
    /// The disk, unless it crashed or the operation is to fail.
    fn state(&self, operation: Operation) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.disk.state();
        if state.generation != self.generation {
            return Err(io::Error::other("the disk crashed"));
        }
        state.fault(operation)?;
        Ok(state)
    }

    /// As [`state`](Self::state), for an operation that changes the disk.
    fn change(&self, operation: Operation) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state(operation)?;
        match state.change(operation) {
            None => Ok(state),
            Some(Strike::Error(error)) => Err(error.into()),
            Some(Strike::Crash(seed)) => {
                state.crash_at_random(seed);
                Err(io::Error::other("the disk crashed"))
            }
        }
    }

    fn opened(&self, inode: u64) -> Box<dyn DiskFile> {
        Box::new(MemoryFile { mount: self.clone(), inode })
    }
}

impl Disk for Mount {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change(Operation::CreateDirectory)?;
        state.entries.insert(path.to_owned(), Entry::Directory);
        state.unsynced.push(NameChange::Link(path.to_owned(), Entry::Directory));
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        path.parent().is_none() || self.disk.state().entries.contains_key(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state(Operation::List)?;
        let inside = state.entries.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.change(Operation::Create)?;
        if state.entries.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let entry = state.new_inode(&[]);
        state.entries.insert(path.to_owned(), entry);
        state.unsynced.push(NameChange::Link(path.to_owned(), entry));
        Ok(self.opened(state.file(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state(Operation::Open)?;
        Ok(self.opened(state.file(path)?))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change(Operation::Rename)?;
        let inode = state.file(from)?;
        state.entries.remove(from);
        state.entries.insert(to.to_owned(), Entry::File(inode));
        state.unsynced.push(NameChange::Rename(from.to_owned(), to.to_owned(), Entry::File(inode)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change(Operation::Remove)?;
        state.file(path)?;
        state.entries.remove(path);
        state.unsynced.push(NameChange::Unlink(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.change(Operation::SyncDirectory)?;
        let state = &mut *state;
        state.unsynced.retain(|change| change.path().parent() != Some(dir));
        let inside = |path: &Path| path.parent() == Some(dir);
        state.durable.retain(|path, _| !inside(path));
        let now = state.entries.iter().filter(|(path, _)| inside(path));
        state.durable.extend(now.map(|(path, entry)| (path.clone(), *entry)));
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.state(Operation::FreeSpace)?.free())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let mut state = self.state(Operation::Lock)?;
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock { mount: self.clone(), path: path.to_owned() }))
    }
}

/// A lock, until it is dropped or the disk crashes.
struct Lock {
    mount: Mount,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.mount.disk.state();
        if state.generation == self.mount.generation {
            state.locks.remove(&self.path);
        }
    }
}

struct MemoryFile {
    mount: Mount,
    inode: u64,
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.mount.state(Operation::Read)?;
        let live = &state.inode(self.inode)?.live;
        let rest = live.get(position(offset)..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.mount.disk.state();
        let end = position(offset) + bytes.len();
        let fault = state.fault(Operation::Write).and_then(|()| state.has_space(self.inode, end));
        if state.generation != self.mount.generation {
            return Err(io::Error::other("the disk crashed"));
        }
        let struck = state.change(Operation::Write);
        let fault = match struck {
            Some(Strike::Error(error)) => Err(error.into()),
            _ => fault,
        };
        let written = match fault {
            Ok(()) => bytes,
            Err(ref error) if error.kind() == io::ErrorKind::StorageFull => {
                &bytes[..bytes.len().min(position(state.free()))]
            }
            Err(_) => &bytes[..bytes.len() / 2],
        };
        state.inode(self.inode)?.write(written, position(offset));
        if let Some(Strike::Crash(seed)) = struck {
            state.crash_at_random(seed);
            return Err(io::Error::other("the disk crashed"));
        }
        fault
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.mount.state(Operation::Read)?;
        Ok(state.inode(self.inode)?.live.len() as u64)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.mount.change(Operation::Truncate)?;
        state.inode(self.inode)?.resize(position(len));
        Ok(())
    }

    fn allocate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.mount.change(Operation::Allocate)?;
        state.has_space(self.inode, position(len))?;
        state.inode(self.inode)?.resize(position(len));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.mount.change(Operation::Sync)?;
        state.inode(self.inode)?.sync();
        state.syncs += 1;
        Ok(())
    }
}

/// Memory is addressable, so nothing real is cut off here.
fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

const MAX_PRE_ALLOC: u64 = 64 << 10;

/// Much smaller than a disk's, so that the few bytes of a test are in many.
const SECTOR: usize = 32;
