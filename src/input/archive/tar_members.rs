//! Tar: members of a mapped archive are slices of the map; of a compressed one, copies or places to inflate to again.

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use sha2::{Digest, Sha256};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::super::HEAD_BYTES;
use super::super::compress::{BUFFER_BYTES, read_up_to, tar_checksum_is_right};
use super::super::stored::{Packing, ZipMember};
use super::*;

const BLOCK: u64 = 512;

/// Long names and pax records are read into memory; real ones have a few hundred bytes.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;

/// Packing a byte takes about as long as inflating so many. A member that stands further back in a compressed tar than
/// so many times its size is packed again and held; one before that is inflated again from the start of the archive
/// when it is opened. Without this, a bundle of many large dumps would be inflated once per dump.
const PACK_FROM: u64 = 6;

/// Packing stops when it saves less than this factor; dumps shrink to a thirtieth.
const PACK_TO: u64 = 4;

/// More holes than this are no dump.
const MAX_SPARSE_PARTS: usize = 10_000;

/// The bytes of a tar, in order.
enum Source<'a> {
    /// Mapped or held: skipping touches nothing.
    Memory {
        blob: &'a Blob,
        at: u64,
    },
    Stream {
        reader: BufReader<Box<dyn Read + Send + 'a>>,
        at: u64,
        scratch: Vec<u8>,
    },
}

impl Source<'_> {
    fn at(&self) -> u64 {
        match self {
            Self::Memory { at, .. } | Self::Stream { at, .. } => *at,
        }
    }

    /// Fills `buf` as far as it goes.
    fn fill(&mut self, buf: &mut [u8]) -> (usize, io::Result<()>) {
        match self {
            Self::Memory { blob, at } => {
                let rest = usize::try_from(*at).ok().and_then(|at| blob.bytes().get(at..)).unwrap_or(&[]);
                let n = rest.len().min(buf.len());
                buf[..n].copy_from_slice(&rest[..n]);
                *at += n as u64;
                (n, Ok(()))
            }
            Self::Stream { reader, at, .. } => {
                let (n, end) = read_up_to(reader, buf);
                *at += n as u64;
                (n, end)
            }
        }
    }

    /// Passes over `len` bytes, or as many as there are, showing those of a stream to `look`.
    fn pass(&mut self, len: u64, mut look: impl FnMut(&[u8])) -> (u64, io::Result<()>) {
        match self {
            Self::Memory { blob, at } => {
                let n = blob.len().saturating_sub(*at).min(len);
                *at += n;
                (n, Ok(()))
            }
            Self::Stream { reader, at, scratch } => {
                let mut passed = 0;
                while passed < len {
                    let room = usize::try_from(len - passed).unwrap_or(usize::MAX).min(scratch.len());
                    let (n, end) = read_up_to(reader, &mut scratch[..room]);
                    look(&scratch[..n]);
                    passed += n as u64;
                    *at += n as u64;
                    if n < room || end.is_err() {
                        return (passed, end);
                    }
                }
                (passed, Ok(()))
            }
        }
    }
}

/// Why the walk through a tar ended before its end.
enum Stop {
    /// Already said.
    Said,
    /// The bytes end, with the error of the stream if it has one.
    Ends {
        doing: String,
        error: Option<io::Error>,
    },
    Bad(String),
}

/// Reads the members; what is wrong goes to the walk's problems.
pub(super) fn read(walk: &mut Walk<'_>, label: &str, layers: &Arc<Layers>, odd: &mut Oddities) -> Vec<Member> {
    let blob = layers.blob();
    let source = match &blob {
        Some(blob) => Source::Memory { blob, at: 0 },
        None => match layers.open(walk.inflate_left) {
            Ok(content) => {
                let stream: Box<dyn Read + Send + '_> = match content {
                    Content::Slice(bytes) => Box::new(bytes),
                    Content::Stream(stream) => stream,
                };
                Source::Stream {
                    reader: BufReader::with_capacity(BUFFER_BYTES, stream),
                    at: 0,
                    scratch: vec![0; BUFFER_BYTES],
                }
            }
            Err(e) => {
                walk.found.problems.push(problem_of(label, &e));
                return Vec::new();
            }
        },
    };
    let mut tar = Tar {
        walk,
        label,
        layers,
        odd,
        source,
        header_at: 0,
        members: Vec::new(),
        long_name: None,
        pax: Pax::default(),
        global: Pax::default(),
    };
    let end = tar.all().and_then(|()| tar.rest());
    let Tar { source, members, header_at, .. } = tar;
    let (at, inflated) = (source.at(), matches!(source, Source::Stream { .. }));
    drop(source);
    if inflated {
        walk.inflate_left = walk.inflate_left.saturating_sub(at);
    }
    let stream = if inflated { "inflated " } else { "" };
    match end {
        Ok(()) | Err(Stop::Said) => {}
        Err(Stop::Ends { doing, error: Some(e) }) => walk.broke(label, &e, at, &doing),
        Err(Stop::Ends { doing, error: None }) => {
            let what = format!("archive ends early, at byte {at} of the {stream}tar; {doing}");
            let problem = Problem::new(label, Loss::Part, what).at(at);
            walk.found.problems.push(problem.hint("the copy or the recording was cut; take it again"));
        }
        Err(Stop::Bad(what)) => {
            let what = format!("{what}, at byte {header_at} of the {stream}tar; what comes after was not read");
            let problem = Problem::new(label, Loss::Part, what).at(header_at);
            walk.found.problems.push(problem.hint("the file was damaged on the way; copy it again in binary mode"));
        }
    }
    members
}

/// What extension headers say of the next member.
#[derive(Default, Clone)]
struct Pax {
    path: Option<String>,
    size: Option<u64>,
    /// A sparse form of GNU's pax, whose content is not in the plain layout.
    sparse: bool,
}

impl Pax {
    fn read(&mut self, records: &[u8]) {
        for record in tar::PaxExtensions::new(records).flatten() {
            match record.key_bytes() {
                b"path" => self.path = Some(text(record.value_bytes())),
                b"size" => self.size = record.value().ok().and_then(|v| v.parse().ok()).or(self.size),
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
    }
}

struct Tar<'w, 'r, 'a> {
    walk: &'w mut Walk<'r>,
    label: &'w str,
    layers: &'w Arc<Layers>,
    odd: &'w mut Oddities,
    source: Source<'a>,
    /// Where the header being read begins.
    header_at: u64,
    members: Vec<Member>,
    long_name: Option<String>,
    pax: Pax,
    global: Pax,
}

impl Tar<'_, '_, '_> {
    /// Goes from header to header up to the mark of the end.
    fn all(&mut self) -> Result<(), Stop> {
        loop {
            let mut header = Header::new_old();
            self.header_at = self.source.at();
            let (n, end) = self.source.fill(header.as_mut_bytes());
            if n == 0 && end.is_ok() {
                // Without the mark of the end, as some writers leave it.
                return Ok(());
            }
            if n < header.as_bytes().len() {
                return Err(ends("between members, what came before is read", end));
            }
            if header.as_bytes().iter().all(|b| *b == 0) {
                return Ok(());
            }
            if !tar_checksum_is_right(header.as_bytes()) {
                return Err(Stop::Bad("found something that is not a tar header (its checksum is wrong)".to_owned()));
            }
            self.member(&header)?;
        }
    }

    /// Reads what is after the mark of the end: the checksum of a compressed archive comes last, and nothing but
    /// zeros should be left.
    fn rest(&mut self) -> Result<(), Stop> {
        let at = self.source.at();
        let mut zeros = true;
        if let Source::Memory { blob, .. } = &self.source {
            let rest = usize::try_from(at).ok().and_then(|at| blob.bytes().get(at..)).unwrap_or(&[]);
            zeros = rest.iter().all(|b| *b == 0);
        } else {
            let (_, end) = self.source.pass(u64::MAX, |bytes| zeros &= bytes.iter().all(|b| *b == 0));
            if let Err(error) = end {
                return Err(Stop::Ends {
                    doing: "all members came before it and are read".to_owned(),
                    error: Some(error),
                });
            }
        }
        if !zeros {
            let what = format!("more follows after the end of the archive, from byte {at} of the tar; it was not read");
            let problem = Problem::new(self.label, Loss::Part, what).at(at);
            let hint = "if archives were put together with cat, give them one by one";
            self.walk.found.problems.push(problem.hint(hint));
        }
        Ok(())
    }

    fn member(&mut self, header: &Header) -> Result<(), Stop> {
        let kind = header.entry_type();
        let size = header.entry_size().map_err(|_| Stop::Bad("found a tar header without a size".to_owned()))?;
        match kind {
            EntryType::GNULongName => {
                let bytes = self.extension(size)?;
                self.long_name = Some(text(bytes.split(|b| *b == 0).next().unwrap_or(&[])));
                return Ok(());
            }
            EntryType::GNULongLink => return self.extension(size).map(|_| ()),
            EntryType::XHeader => {
                let bytes = self.extension(size)?;
                self.pax.read(&bytes);
                return Ok(());
            }
            EntryType::XGlobalHeader => {
                let bytes = self.extension(size)?;
                self.global.read(&bytes);
                return Ok(());
            }
            _ => {}
        }
        let pax = std::mem::take(&mut self.pax);
        let long_name = self.long_name.take();
        let name =
            pax.path.or(long_name).or_else(|| self.global.path.clone()).unwrap_or_else(|| text(&header.path_bytes()));
        let size = pax.size.or(self.global.size).unwrap_or(size);
        match kind {
            // Some writers put the length of the target there, without bytes.
            EntryType::Symlink | EntryType::Char | EntryType::Block | EntryType::Fifo => {
                self.odd.special.add(&name);
                Ok(())
            }
            EntryType::Directory => self.skip(size, &name),
            EntryType::Regular | EntryType::Continuous if name.ends_with('/') => self.skip(size, &name),
            EntryType::Regular | EntryType::Continuous if pax.sparse => {
                self.left_out(&name, "is a sparse file in the form of pax, which is not read");
                self.skip(size, &name)
            }
            EntryType::Regular | EntryType::Continuous => {
                if !self.walk.count_entry(self.label) {
                    return Err(Stop::Said);
                }
                self.regular(name, size)
            }
            EntryType::GNUSparse => {
                if !self.walk.count_entry(self.label) {
                    return Err(Stop::Said);
                }
                self.sparse(header, name, size)
            }
            _ => {
                self.odd.special.add(&name);
                self.skip(size, &name)
            }
        }
    }

    fn left_out(&mut self, name: &str, what: &str) {
        let label = format!("{}!{name}", self.label);
        self.walk.refuse(&label, Loss::Whole, what.to_owned(), "unpack the archive and name the folder");
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Stop> {
        if size > MAX_EXTENSION_BYTES {
            return Err(Stop::Bad(format!("found a name or a pax header of {size} bytes, expected a few hundred")));
        }
        let mut bytes = vec![0; size as usize];
        let (n, end) = self.source.fill(&mut bytes);
        if n < bytes.len() {
            return Err(ends("inside the name of a member, what came before is read", end));
        }
        self.padding(size)?;
        Ok(bytes)
    }

    fn padding(&mut self, size: u64) -> Result<(), Stop> {
        let padding = size.wrapping_neg() % BLOCK;
        // A missing rest of the last block costs nothing; the next header says that the archive ends early.
        match self.source.pass(padding, |_| {}) {
            (_, Err(error)) => Err(ends("between members, what came before is read", Err(error))),
            _ => Ok(()),
        }
    }

    fn skip(&mut self, size: u64, name: &str) -> Result<(), Stop> {
        let (n, end) = self.source.pass(size, |_| {});
        if n < size {
            return Err(cut(name, size, n, end));
        }
        self.padding(size)
    }

    fn regular(&mut self, name: String, size: u64) -> Result<(), Stop> {
        let at = self.source.at();
        let inline = size <= self.walk.run.limits.inline_entry_bytes;
        let (stored, sha256) = match &mut self.source {
            Source::Memory { blob, .. } => {
                let Some(part) = blob.part(at, size) else {
                    let there = blob.len().saturating_sub(at);
                    return Err(cut(&name, size, there, Ok(())));
                };
                self.source.pass(size, |_| {}).1.ok();
                (Stored::Bytes(part), None)
            }
            Source::Stream { .. } if inline && self.walk.run.hold(size) => {
                let mut bytes = vec![0; size as usize];
                let (n, end) = self.source.fill(&mut bytes);
                if n < bytes.len() {
                    return Err(cut(&name, size, n as u64, end));
                }
                (Stored::Bytes(Blob::held(bytes)), None)
            }
            Source::Stream { .. } => {
                // It passes by once anyway; hashing it now saves inflating the archive again for that alone.
                let mut hash = Sha256::new();
                let mut head = Vec::new();
                let mut packer = (at / PACK_FROM > size).then(Packer::new);
                let (n, end) = self.source.pass(size, |bytes| {
                    hash.update(bytes);
                    let want = HEAD_BYTES - head.len();
                    head.extend_from_slice(&bytes[..bytes.len().min(want)]);
                    packer = packer.take().and_then(|packer| packer.add(bytes, size / PACK_TO));
                });
                if n < size {
                    return Err(cut(&name, size, n, end));
                }
                let packed = packer.and_then(|packer| packer.member(size)).filter(|m| self.walk.run.hold(m.data.len()));
                let stored = match packed {
                    Some(member) => Stored::Zipped(member),
                    None => Stored::Within { outer: Arc::clone(self.layers), at, len: size, head },
                };
                (stored, Some(super::super::hex(hash)))
            }
        };
        self.members.push(Member { name, stored, bytes: size, sha256 });
        self.padding(size)
    }

    /// A file with holes (GNU's old form). Its holes cost memory here, so it has to fit inline.
    fn sparse(&mut self, header: &Header, name: String, size: u64) -> Result<(), Stop> {
        let bad = || Stop::Bad("found a sparse file whose map of holes makes no sense".to_owned());
        let gnu = header.as_gnu().ok_or_else(bad)?;
        let real = gnu.real_size().map_err(|_| bad())?;
        let mut parts = Vec::new();
        let add = |parts: &mut Vec<(u64, u64)>, list: &[GnuSparseHeader]| {
            for part in list.iter().filter(|part| !part.is_empty()) {
                let (Ok(at), Ok(len)) = (part.offset(), part.length()) else { return false };
                parts.push((at, len));
            }
            parts.len() <= MAX_SPARSE_PARTS
        };
        let mut whole = add(&mut parts, &gnu.sparse);
        let mut more = gnu.is_extended();
        while whole && more {
            let mut block = GnuExtSparseHeader::new();
            let (n, end) = self.source.fill(block.as_mut_bytes());
            if n < block.as_bytes().len() {
                return Err(ends("inside a sparse file, what came before is read", end));
            }
            whole = add(&mut parts, block.sparse());
            more = block.is_extended();
        }
        let stored = parts.iter().try_fold(0_u64, |sum, (_, len)| sum.checked_add(*len));
        let ordered =
            parts.iter().try_fold(0_u64, |from, (at, len)| if *at < from { None } else { at.checked_add(*len) });
        if !whole || stored != Some(size) || ordered.is_none_or(|end| end > real) {
            return Err(bad());
        }
        let limits = self.walk.run.limits;
        if real > limits.inline_entry_bytes || real > self.walk.inflate_left || !self.walk.run.hold(real) {
            self.left_out(&name, &format!("is a sparse file of {real} bytes, too large to hold"));
            return self.skip(size, &name);
        }
        self.walk.inflate_left -= real;
        let mut bytes = vec![0; real as usize];
        let mut passed = 0;
        for (at, len) in parts {
            // Both lie within `real`, as checked above.
            let (n, end) = self.source.fill(&mut bytes[at as usize..(at + len) as usize]);
            passed += n as u64;
            if (n as u64) < len {
                return Err(cut(&name, size, passed, end));
            }
        }
        self.members.push(Member { name, stored: Stored::Bytes(Blob::held(bytes)), bytes: real, sha256: None });
        self.padding(size)
    }
}

/// Packs a member as it passes by.
struct Packer {
    deflate: DeflateEncoder<Vec<u8>>,
    crc: Crc,
}

impl Packer {
    fn new() -> Self {
        Self { deflate: DeflateEncoder::new(Vec::new(), Compression::fast()), crc: Crc::new() }
    }

    /// Takes more bytes; gives up when they pack to more than `max_bytes`.
    fn add(mut self, bytes: &[u8], max_bytes: u64) -> Option<Self> {
        self.crc.update(bytes);
        self.deflate.write_all(bytes).ok()?;
        (self.deflate.get_ref().len() as u64 <= max_bytes).then_some(self)
    }

    fn member(self, size: u64) -> Option<ZipMember> {
        let mut packed = self.deflate.finish().ok()?;
        packed.shrink_to_fit();
        Some(ZipMember {
            data: Blob::held(packed),
            packing: Packing::Deflated,
            declared_bytes: size,
            crc: self.crc.sum(),
            sound: OnceLock::new(),
        })
    }
}

fn ends(doing: &str, end: io::Result<()>) -> Stop {
    Stop::Ends { doing: doing.to_owned(), error: end.err() }
}

fn cut(name: &str, size: u64, there: u64, end: io::Result<()>) -> Stop {
    ends(&format!("{name:?} has {there} of its {size} bytes and is left out, what came before is read"), end)
}

/// Names are mostly UTF-8, and only shown.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
