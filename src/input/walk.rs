//! From what the user named to documents: files, directories, stdin.
//!
//! Paths are listed first, in order, then read in parallel and put together in that order.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::Mmap;
use rayon::prelude::*;

use super::archive::Opened;
use super::stored::Blob;
use super::{Inputs, Limits};
use crate::model::problem::{Loss, Problem};

/// Smaller files are copied: mapping costs more than it saves, and a copy cannot fail later.
const MAP_FROM_BYTES: u64 = 64 * 1024;

/// What all files of one run share.
pub(super) struct Run<'a> {
    pub(super) limits: &'a Limits,
    held: AtomicU64,
}

impl Run<'_> {
    /// Books bytes that are kept in memory; `false` when the limit does not allow them.
    pub(super) fn hold(&self, bytes: u64) -> bool {
        let max = self.limits.max_held_bytes;
        let book = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= max);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, book).is_ok()
    }

    /// Bytes that may still be held.
    pub(super) fn holdable(&self) -> u64 {
        self.limits.max_held_bytes.saturating_sub(self.held.load(Ordering::Relaxed))
    }
}

enum Item {
    File { path: PathBuf, label: String, given: bool },
    Stdin,
    Problem(Problem),
}

/// The file `name` in the working folder or the nearest one above it, as a path from the working folder.
pub fn find_upward(name: &str) -> Option<PathBuf> {
    let depth = std::env::current_dir().map_or(1, |here| here.components().count());
    let mut folder = PathBuf::new();
    (0..depth).find_map(|_| {
        let path = folder.join(name);
        folder.push("..");
        path.is_file().then_some(path)
    })
}

/// Whether a file is at `path`.
pub fn is_file(path: &Path) -> bool {
    path.is_file()
}

/// Walks the given paths into documents; `-` is stdin.
///
/// Directories are walked with all below them, archives (tar, zip, either compressed, nested) into their members,
/// gzip and zstd files become documents that inflate when opened. The order is the order given, and by name inside a
/// directory or an archive, so that it does not depend on the file system.
///
/// Never fails as a whole: what cannot be read is a [`Problem`]. Files are mapped, not read; only compressed archives
/// are inflated here, once.
pub fn collect(paths: &[PathBuf], limits: &Limits) -> Inputs {
    let mut items = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            if items.iter().any(|item| matches!(item, Item::Stdin)) {
                items.push(Item::Problem(Problem::new("-", Loss::Nothing, "stdin is named twice; it is read once")));
            } else {
                items.push(Item::Stdin);
            }
        } else {
            list(path, &mut items);
        }
    }
    let run = Run { limits, held: AtomicU64::new(0) };
    let parts: Vec<Inputs> = items.into_par_iter().map(|item| read(item, &run)).collect();
    let mut all = Inputs::default();
    for part in parts {
        all.documents.extend(part.documents);
        all.problems.extend(part.problems);
    }
    all
}

/// Lists one path as the user gave it.
fn list(path: &Path, items: &mut Vec<Item>) {
    let label = path.to_string_lossy().into_owned();
    match fs::metadata(path) {
        Err(e) => items.push(Item::Problem(cannot_open(&label, &e))),
        Ok(meta) if meta.is_dir() => {
            let before = items.len();
            let mut left_out = LeftOut::default();
            list_directory(path, &label, items, &mut left_out);
            if !items[before..].iter().any(|item| matches!(item, Item::File { .. })) {
                let problem = Problem::new(&label, Loss::Whole, "directory holds no files")
                    .hint("name the folder that holds the dumps");
                items.push(Item::Problem(problem));
            }
            items.extend(left_out.problems(&label).map(Item::Problem));
        }
        Ok(_) => items.push(Item::File { path: path.to_owned(), label, given: true }),
    }
}

/// What a directory holds beside files and directories.
#[derive(Default)]
struct LeftOut {
    links: u64,
    first_link: String,
    special: u64,
    first_special: String,
}

impl LeftOut {
    fn problems(self, label: &str) -> impl Iterator<Item = Problem> {
        let links = (self.links > 0).then(|| {
            let Self { links, first_link, .. } = &self;
            let what =
                format!("symbolic links inside a directory are not followed: {links}, the first is {first_link:?}");
            Problem::new(label, Loss::Nothing, what).hint("name what a link points to, if it is wanted")
        });
        let special = (self.special > 0).then(|| {
            let Self { special, first_special, .. } = &self;
            let what = format!("pipes, sockets and devices are not read: {special}, the first is {first_special:?}");
            Problem::new(label, Loss::Nothing, what)
        });
        links.into_iter().chain(special)
    }
}

fn list_directory(path: &Path, label: &str, items: &mut Vec<Item>, left_out: &mut LeftOut) {
    let entries: io::Result<Vec<_>> = fs::read_dir(path).and_then(Iterator::collect);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(e) => {
            items.push(Item::Problem(cannot_open(label, &e)));
            return;
        }
    };
    entries.sort_by(|a, b| a.file_name().as_encoded_bytes().cmp(b.file_name().as_encoded_bytes()));
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let label = if label.ends_with('/') { format!("{label}{name}") } else { format!("{label}/{name}") };
        match entry.file_type() {
            Err(e) => items.push(Item::Problem(cannot_open(&label, &e))),
            Ok(kind) if kind.is_dir() => list_directory(&entry.path(), &label, items, left_out),
            Ok(kind) if kind.is_file() => items.push(Item::File { path: entry.path(), label, given: false }),
            Ok(kind) if kind.is_symlink() => {
                if left_out.links == 0 {
                    left_out.first_link = label;
                }
                left_out.links += 1;
            }
            // Opening a pipe here would wait for a writer.
            Ok(_) => {
                if left_out.special == 0 {
                    left_out.first_special = label;
                }
                left_out.special += 1;
            }
        }
    }
}

fn cannot_open(label: &str, error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::NotFound => Problem::new(label, Loss::Whole, "no such file or directory")
            .hint("check the path; it is taken from the current directory"),
        io::ErrorKind::PermissionDenied => {
            Problem::new(label, Loss::Whole, "permission denied").hint("make it readable for you, or give a copy")
        }
        _ => Problem::new(label, Loss::Whole, format!("cannot be read: {error}")),
    }
}

fn read(item: Item, run: &Run<'_>) -> Inputs {
    let (label, given, bytes) = match item {
        Item::Problem(problem) => {
            return Inputs { documents: Vec::new(), problems: vec![problem] };
        }
        Item::Stdin => {
            let bytes = if io::stdin().is_terminal() {
                Err(Problem::new("-", Loss::Whole, "no input: stdin is a terminal")
                    .hint("name a file, or pipe a dump into it"))
            } else {
                read_to_memory(io::stdin().lock(), "-", run)
            };
            ("-".to_owned(), true, bytes)
        }
        Item::File { path, label, given } => {
            let bytes = read_file(&path, &label, run);
            (label, given, bytes)
        }
    };
    match bytes {
        Ok(blob) => super::archive::open(Opened { label, given, blob }, run),
        Err(problem) => Inputs { documents: Vec::new(), problems: vec![problem] },
    }
}

fn read_file(path: &Path, label: &str, run: &Run<'_>) -> Result<Blob, Problem> {
    let file = File::open(path).map_err(|e| cannot_open(label, &e))?;
    let meta = file.metadata().map_err(|e| cannot_open(label, &e))?;
    if !meta.is_file() {
        // A pipe, as from `<(kubectl exec …)`.
        return if file.is_terminal() {
            Err(Problem::new(label, Loss::Whole, "no input: it is a terminal").hint("name a file"))
        } else {
            read_to_memory(file, label, run)
        };
    }
    if meta.len() < MAP_FROM_BYTES && run.holdable() >= MAP_FROM_BYTES {
        // Files of /proc and /sys say that they are empty, and are not.
        return read_to_memory(file, label, run);
    }
    match map(&file) {
        Ok(map) => Ok(Blob::mapped(map)),
        // Not every file system can map.
        Err(_) => read_to_memory(file, label, run),
    }
}

/// Maps a regular file read-only.
///
/// The trade: whoever truncates the file while it is mapped ends this process with SIGBUS, and whoever writes to it
/// changes bytes under the reader. A dump is written once and then looked at, and reading a copy would double the
/// memory and the time of the common case, so the map is taken, as ripgrep does.
fn map(file: &File) -> io::Result<Mmap> {
    #[expect(unsafe_code, reason = "mapping is the only way to read without a copy; see the trade above")]
    // SAFETY: sound as long as nobody changes the file meanwhile, which no program can enforce; see the trade above.
    unsafe {
        Mmap::map(file)
    }
}

fn read_to_memory(mut from: impl Read, label: &str, run: &Run<'_>) -> Result<Blob, Problem> {
    let room = run.holdable();
    let mut bytes = Vec::new();
    (&mut from).take(room.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| cannot_open(label, &e))?;
    if !run.hold(bytes.len() as u64) {
        let what = format!("does not fit into the {room} bytes of memory that are left for inputs without a file");
        return Err(
            Problem::new(label, Loss::Whole, what).hint("write it to a file, compressed if it is large, and name that")
        );
    }
    bytes.shrink_to_fit();
    Ok(Blob::held(bytes))
}
