//! Zip: members are packed slices of the archive, inflated when they are opened.

use std::io::{BufRead, Cursor};

use zip::{CompressionMethod, ZipArchive};

use super::super::compress::{BUFFER_BYTES, Inflater, StepState};
use super::super::stored::{Packing, ZipMember};
use super::*;

const LOCAL_HEADER: &[u8; 4] = b"PK\x03\x04";
const LOCAL_HEADER_BYTES: u64 = 30;

/// Reads the members by the directory at the end, or, when the end is missing, by the headers from the front.
pub(super) fn read(walk: &mut Walk<'_>, label: &str, blob: &Blob, odd: &mut Oddities) -> Vec<Member> {
    match ZipArchive::new(Cursor::new(blob.bytes())) {
        Ok(archive) => by_directory(walk, label, blob, &archive, odd),
        Err(e) => from_the_front(walk, label, blob, &e.to_string()),
    }
}

fn by_directory(
    walk: &mut Walk<'_>,
    label: &str,
    blob: &Blob,
    archive: &ZipArchive<Cursor<&[u8]>>,
    odd: &mut Oddities,
) -> Vec<Member> {
    let mut members = Vec::new();
    let mut ranges = Vec::new();
    if archive.has_duplicate_names() {
        let what = "names occur more than once in the archive; the last of each is read";
        walk.found.problems.push(Problem::new(label, Loss::Part, what).hint("unpack it and name the folder"));
    }
    for index in 0..archive.len() {
        let Ok(entry) = archive.by_index_data(index) else { continue };
        let name = match entry.name() {
            Ok(name) => name.into_owned(),
            Err(_) => String::from_utf8_lossy(entry.name_raw()).into_owned(),
        };
        // Type bits of the Unix mode; none at all means that the writer had no Unix modes.
        let file_type = entry.unix_mode().map_or(0, |mode| mode & 0o170_000);
        if entry.is_dir() {
            continue;
        }
        if entry.is_symlink() || !matches!(file_type, 0 | 0o100_000) {
            odd.special.add(&name);
            continue;
        }
        if !walk.count_entry(label) {
            break;
        }
        let inner = format!("{label}!{name}");
        let data = local_data(blob, entry.header_start())
            .and_then(|at| blob.part(at, entry.compressed_size()).map(|d| (at, d)));
        let Some((at, data)) = data else {
            let what = format!(
                "zip directory places its {} packed bytes at byte {}, where they are not",
                entry.compressed_size(),
                entry.header_start()
            );
            walk.refuse(&inner, Loss::Whole, what, "the archive is damaged; take it from its source again");
            continue;
        };
        if !data.bytes().is_empty() {
            ranges.push((at, at + data.len()));
        }
        let packing = match packing(entry.compression().into(), entry.encrypted()) {
            Ok(packing) => packing,
            Err(what) => {
                walk.refuse(&inner, Loss::Whole, what, "unpack the archive and name the folder");
                continue;
            }
        };
        members.push(member(name, data, packing, entry.size(), entry.crc32()));
    }
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        // Members that share packed bytes are how a small zip inflates to petabytes.
        let what = "members of the zip overlap, as in a zip bomb; it was not read".to_owned();
        walk.refuse(label, Loss::Whole, what, "if you trust it, unpack it by hand and name the folder");
        return Vec::new();
    }
    members
}

fn member(name: String, data: Blob, packing: Packing, declared_bytes: u64, crc: u32) -> Member {
    Member {
        name,
        stored: Stored::Zipped(ZipMember { data, packing, declared_bytes, crc, sound: OnceLock::new() }),
        bytes: declared_bytes,
        sha256: None,
    }
}

fn packing(method: Method, encrypted: bool) -> Result<Packing, String> {
    match method {
        _ if encrypted => Err("is encrypted".to_owned()),
        Method::Stored => Ok(Packing::Stored),
        Method::Deflated => Ok(Packing::Deflated),
        Method::Other(other) => {
            Err(format!("is packed with {other}; only stored and deflated members of a zip are read"))
        }
    }
}

enum Method {
    Stored,
    Deflated,
    Other(String),
}

impl From<CompressionMethod> for Method {
    fn from(method: CompressionMethod) -> Self {
        match method {
            CompressionMethod::Stored => Self::Stored,
            CompressionMethod::Deflated => Self::Deflated,
            other => Self::Other(other.to_string()),
        }
    }
}

/// By the number in a header (APPNOTE 4.4.5).
impl From<u16> for Method {
    fn from(number: u16) -> Self {
        match number {
            0 => Self::Stored,
            8 => Self::Deflated,
            other => Self::Other(CompressionMethod::name_from_u16(other).to_owned()),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Where the data of the member whose local header is at `header` begins.
fn local_data(blob: &Blob, header: u64) -> Option<u64> {
    let local = blob.part(header, LOCAL_HEADER_BYTES)?;
    let local = local.bytes();
    let variable = u64::from(u16_at(local, 26)?) + u64::from(u16_at(local, 28)?);
    local.starts_with(LOCAL_HEADER).then_some(header + LOCAL_HEADER_BYTES + variable)
}

/// A zip that was cut has lost its directory; the local headers still lead from member to member.
fn from_the_front(walk: &mut Walk<'_>, label: &str, blob: &Blob, why: &str) -> Vec<Member> {
    let mut members = Vec::new();
    let mut at = 0;
    while let Some(local) = Local::read(blob, at) {
        if local.name.ends_with('/') {
            at = local.data_at;
            continue;
        }
        if !walk.count_entry(label) {
            return members;
        }
        let Some((sizes, after)) = local.extent(walk, blob) else { break };
        let Some(data) = blob.part(local.data_at, sizes.packed) else { break };
        at = after;
        // A link is told by the directory only; here it would be a tiny file with the target.
        match packing(local.method.into(), local.flags & 1 != 0) {
            Ok(packing) => members.push(member(local.name, data, packing, sizes.inflated, sizes.crc)),
            Err(what) => {
                let inner = format!("{label}!{}", local.name);
                walk.refuse(&inner, Loss::Whole, what, "unpack the archive and name the folder");
            }
        }
    }
    let what = format!("zip has no readable directory at its end ({why}); it was read from the front up to byte {at}");
    let loss = if members.is_empty() { Loss::Whole } else { Loss::Part };
    let problem = Problem::new(label, loss, what).at(at);
    walk.found.problems.push(problem.hint("the copy or the recording was cut; take it again"));
    members
}

struct Local {
    name: String,
    flags: u16,
    method: u16,
    data_at: u64,
    sizes: Sizes,
}

#[derive(Clone, Copy)]
struct Sizes {
    packed: u64,
    inflated: u64,
    crc: u32,
}

impl Local {
    fn read(blob: &Blob, at: u64) -> Option<Self> {
        let data_at = local_data(blob, at)?;
        let header = blob.part(at, data_at - at)?;
        let header = header.bytes();
        let name_len = usize::from(u16_at(header, 26)?);
        let start = LOCAL_HEADER_BYTES as usize;
        Some(Self {
            name: String::from_utf8_lossy(header.get(start..start + name_len)?).into_owned(),
            flags: u16_at(header, 6)?,
            method: u16_at(header, 8)?,
            data_at,
            sizes: Sizes {
                crc: u32_at(header, 14)?,
                packed: u64::from(u32_at(header, 18)?),
                inflated: u64::from(u32_at(header, 22)?),
            },
        })
    }

    /// The true sizes, and where the next header should be; `None` when the data is not all there.
    fn extent(&self, walk: &mut Walk<'_>, blob: &Blob) -> Option<(Sizes, u64)> {
        if self.flags & 8 == 0 {
            return Some((self.sizes, self.data_at.checked_add(self.sizes.packed)?));
        }
        // Written to a pipe: the sizes come after the data, and only inflating finds the end of it.
        if self.method != 8 {
            return None;
        }
        let rest = blob.part(self.data_at, blob.len().checked_sub(self.data_at)?)?;
        let mut src = Cursor::new(rest.bytes());
        let mut inflater = Inflater::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let step = inflater.step(&mut src, &mut buffer).ok()?;
            if inflater.out > walk.inflate_left {
                return None;
            }
            match step.state {
                StepState::More => {}
                StepState::Ended => break,
                StepState::Starved | StepState::Corrupt => return None,
            }
        }
        walk.inflate_left -= inflater.out;
        let packed = src.position();
        let tail = src.fill_buf().ok()?;
        // The descriptor may begin with a signature, and its sizes have 8 bytes in large archives.
        let crc_at = if tail.starts_with(b"PK\x07\x08") { 4 } else { 0 };
        let crc = u32_at(tail, crc_at)?;
        let long = u32_at(tail, crc_at + 4).map(u64::from) == Some(packed)
            && tail.get(crc_at + 12..crc_at + 14) != Some(b"PK");
        let zip64 = long && u32_at(tail, crc_at + 8) == Some(0) && u32_at(tail, crc_at + 16) == Some(0);
        let len = crc_at + if zip64 { 20 } else { 12 };
        let sizes = Sizes { packed, inflated: inflater.out, crc };
        Some((sizes, self.data_at + packed + len as u64))
    }
}
