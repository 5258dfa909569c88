//! Archives into their members: tar, zip, either compressed, and what is nested in them.
//!
//! Only regular files count. Names are labels: nothing here makes a path of one. The two formats are read from the
//! layout up (with the `tar` crate's headers and the `zip` crate's directory), because the offsets of members in
//! mapped archives, truncated archives and lying headers need more than iterators over entries give.

mod tar_members;
mod zip_members;

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, OnceLock};

use super::compress::{Form, SNIFF_BYTES, sniff};
use super::stored::{Blob, Layers, Stored};
use super::walk::Run;
use super::{Content, Document, Inputs, StreamError, problem_of};
use crate::model::problem::{Loss, Problem};

/// A file, or what came from stdin.
pub(super) struct Opened {
    pub(super) label: String,
    pub(super) given: bool,
    pub(super) blob: Blob,
}

/// One member found in an archive.
struct Member {
    name: String,
    stored: Stored,
    bytes: u64,
    /// When the walk had to read it anyway.
    sha256: Option<String>,
}

/// What an archive holds beside plain files with plain names, for one line each.
#[derive(Default)]
struct Oddities {
    special: Counted,
    escaping: Counted,
    twice: Counted,
}

#[derive(Default)]
struct Counted {
    count: u64,
    first: String,
}

impl Counted {
    fn add(&mut self, name: &str) {
        if self.count == 0 {
            self.first = name.to_owned();
        }
        self.count += 1;
    }

    fn problem(&self, label: &str, what: &str) -> Option<Problem> {
        let Self { count, first } = self;
        (*count > 0).then(|| Problem::new(label, Loss::Nothing, format!("{what}: {count}, the first is {first:?}")))
    }
}

/// The walk through one file: an archive and everything nested in it.
struct Walk<'a> {
    run: &'a Run<'a>,
    found: Inputs,
    entries_left: usize,
    /// Bytes that may still be inflated while walking.
    inflate_left: u64,
}

/// Makes documents of one opened file.
pub(super) fn open(opened: Opened, run: &Run<'_>) -> Inputs {
    let mut walk = Walk {
        run,
        found: Inputs::default(),
        entries_left: run.limits.max_entries,
        inflate_left: run.limits.max_inflated_bytes,
    };
    let bytes = opened.blob.len();
    let place = Place { container_len: 0, given: opened.given, depth: 0 };
    walk.resolve(opened.label, place, bytes, Layers::plain(Stored::Bytes(opened.blob)), None);
    walk.found
}

/// Where a document or archive stands.
#[derive(Clone, Copy)]
struct Place {
    container_len: usize,
    given: bool,
    /// Archives around it.
    depth: u32,
}

impl Walk<'_> {
    /// Takes compressions off until it is clear what it is: an archive to walk, or a document.
    fn resolve(&mut self, label: String, place: Place, bytes: u64, mut layers: Layers, sha256: Option<String>) {
        let limits = self.run.limits;
        loop {
            let form = match layers.blob() {
                Some(blob) => sniff(&blob.bytes()[..blob.bytes().len().min(SNIFF_BYTES)]),
                None => sniff(&layers.head(SNIFF_BYTES)),
            };
            match form {
                Form::Coded(_) if layers.codecs.len() as u64 >= u64::from(limits.max_nesting) => {
                    let what = format!("is compressed more than {} times", limits.max_nesting);
                    self.refuse(&label, Loss::Whole, what, "decompress it by hand, if you trust it");
                    return;
                }
                Form::Coded(codec) => layers.codecs.push(codec),
                // The archive that the user named is not inside of one.
                Form::Tar | Form::Zip if place.depth > limits.max_nesting => {
                    let what = format!("is an archive inside more than {} others; it was not read", limits.max_nesting);
                    self.refuse(&label, Loss::Whole, what, "unpack it, if you trust it, and name it directly");
                    return;
                }
                Form::Tar => return self.walk_members(label, place, layers, Self::tar),
                Form::Zip => return self.walk_members(label, place, layers, Self::zip),
                Form::Plain => break,
            }
        }
        let document = Document::new(label, place.container_len, place.given, bytes, layers, limits);
        if let Some(sha256) = sha256 {
            document.sha256.get_or_init(|| sha256);
        }
        self.found.documents.push(document);
    }

    fn walk_members(
        &mut self,
        label: String,
        place: Place,
        layers: Layers,
        read: fn(&mut Self, &str, &Arc<Layers>, &mut Oddities) -> Vec<Member>,
    ) {
        let layers = Arc::new(layers);
        let mut odd = Oddities::default();
        let problems_before = self.found.problems.len();
        let mut members = read(self, &label, &layers, &mut odd);
        let mut names = HashSet::new();
        for member in &members {
            if escapes(&member.name) {
                odd.escaping.add(&member.name);
            }
            if !names.insert(member.name.as_str()) {
                odd.twice.add(&member.name);
            }
        }
        let special = "links, devices and pipes in the archive are not read";
        let escaping = "names in the archive lead out of it (absolute or with ..); they are read, nothing is written";
        let twice = "names occur more than once in the archive; all are read";
        self.found.problems.extend(odd.special.problem(&label, special));
        self.found.problems.extend(odd.escaping.problem(&label, escaping));
        self.found.problems.extend(odd.twice.problem(&label, twice));
        if members.is_empty() && self.found.problems[problems_before..].iter().all(|p| p.loss == Loss::Nothing) {
            self.refuse(&label, Loss::Whole, "archive holds no files".to_owned(), "");
        }
        // Stable: of members with one name, the order in the archive counts.
        members.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        for member in members {
            let place = Place { container_len: label.len(), given: false, depth: place.depth + 1 };
            let name = member.name.trim_start_matches("./");
            let label = format!("{label}!{name}");
            self.resolve(label, place, member.bytes, Layers::plain(member.stored), member.sha256);
        }
    }

    fn refuse(&mut self, label: &str, loss: Loss, what: String, hint: &str) {
        self.found.problems.push(Problem::new(label, loss, what).hint(hint));
    }

    /// Books one member; `false`, with a problem, when there are too many.
    fn count_entry(&mut self, label: &str) -> bool {
        if self.entries_left == 0 {
            let what = format!("archive holds more than {} files; the rest was not read", self.run.limits.max_entries);
            self.refuse(label, Loss::Part, what, "unpack what is wanted, if you trust it, and name the folder");
            return false;
        }
        self.entries_left -= 1;
        true
    }

    /// Says what ended a compressed archive before its end.
    fn broke(&mut self, label: &str, error: &io::Error, at: u64, doing: &str) {
        let mut problem = problem_of(label, error).at(at);
        if matches!(StreamError::of(error), Some(StreamError::Limit { .. })) {
            // What is left of the limit says little; several nested archives share it.
            let max = self.run.limits.max_inflated_bytes;
            problem.what = format!("archive inflates to more than the limit of {max} bytes (--max-bytes)");
        }
        if problem.loss != Loss::Nothing {
            problem.what = format!("{}; {doing}", problem.what);
        }
        self.found.problems.push(problem);
    }

    /// The content in memory, inflated if it has to be: a zip is read from its end.
    fn hold_all(&mut self, label: &str, layers: &Layers) -> Option<Blob> {
        if let Some(blob) = layers.blob() {
            return Some(blob);
        }
        let room = self.run.holdable();
        let limit = room.min(self.inflate_left);
        let (bytes, end) = match layers.open(limit) {
            Ok(content) => {
                let (bytes, end) = content.read_all();
                (bytes.into_owned(), end)
            }
            Err(e) => (Vec::new(), Err(e)),
        };
        let len = bytes.len() as u64;
        self.inflate_left = self.inflate_left.saturating_sub(len);
        if let Err(e) = end {
            if matches!(StreamError::of(&e), Some(StreamError::Limit { .. })) {
                let what = format!("is a zip inside compressed data and inflates to more than {limit} bytes");
                self.refuse(label, Loss::Whole, what, "unpack it, if you trust it, and name it directly");
                return None;
            }
            self.broke(label, &e, len, "what was whole is read");
        }
        if !self.run.hold(len) {
            self.refuse(label, Loss::Whole, "does not fit into memory".to_owned(), "unpack it and name it directly");
            return None;
        }
        Some(Blob::held(bytes))
    }

    fn tar(&mut self, label: &str, layers: &Arc<Layers>, odd: &mut Oddities) -> Vec<Member> {
        tar_members::read(self, label, layers, odd)
    }

    fn zip(&mut self, label: &str, layers: &Arc<Layers>, odd: &mut Oddities) -> Vec<Member> {
        match self.hold_all(label, layers) {
            Some(blob) => zip_members::read(self, label, &blob, odd),
            None => Vec::new(),
        }
    }
}

/// Whether a name would lead out of the archive if somebody unpacked it carelessly.
fn escapes(name: &str) -> bool {
    let drive = name.as_bytes().get(1) == Some(&b':') && name.as_bytes()[0].is_ascii_alphabetic();
    drive || name.starts_with(['/', '\\']) || name.split(['/', '\\']).any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::escapes;

    #[test]
    fn names_that_lead_out() {
        for name in ["../x", "a/../../x", "/etc/passwd", "C:\\x", "..\\x", ".."] {
            assert!(escapes(name), "{name}");
        }
        for name in ["a/b", "./a", "a..b", "...", "", "é:"] {
            assert!(!escapes(name), "{name}");
        }
    }
}
