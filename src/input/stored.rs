//! Where the bytes of a document are, and the layers between them and its content.

use std::io::{self, Cursor, Read};
use std::sync::{Arc, OnceLock};

use flate2::Crc;
use memmap2::Mmap;

use super::compress::{BUFFER_BYTES, Codec, Inflater, Limited, StepState, decode, read_up_to};
use super::{Content, Pages, StreamError};

/// Memory that several documents may share.
#[derive(Debug)]
enum Store {
    Mapped(Mmap),
    Held(Vec<u8>),
}

/// A run of bytes in memory: a mapped file, a copy, or a part of one. Cloning shares.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    store: Arc<Store>,
    start: usize,
    end: usize,
}

impl Blob {
    pub(super) fn mapped(map: Mmap) -> Self {
        let end = map.len();
        Self { store: Arc::new(Store::Mapped(map)), start: 0, end }
    }

    pub(super) fn held(bytes: Vec<u8>) -> Self {
        let end = bytes.len();
        Self { store: Arc::new(Store::Held(bytes)), start: 0, end }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        let all: &[u8] = match &*self.store {
            Store::Mapped(map) => map,
            Store::Held(bytes) => bytes,
        };
        &all[self.start..self.end]
    }

    fn pages(&self) -> Pages<'_> {
        match &*self.store {
            Store::Mapped(map) => Pages::of(map, self.start),
            Store::Held(_) => Pages::default(),
        }
    }

    pub(super) fn len(&self) -> u64 {
        (self.end - self.start) as u64
    }

    /// The part from `at` of `len` bytes, `None` when it is not all there.
    pub(super) fn part(&self, at: u64, len: u64) -> Option<Self> {
        let at = usize::try_from(at).ok()?;
        let len = usize::try_from(len).ok()?;
        let start = self.start.checked_add(at)?;
        let end = start.checked_add(len)?;
        (end <= self.end).then(|| Self { store: Arc::clone(&self.store), start, end })
    }
}

/// How a zip member is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Stored,
    Deflated,
}

/// One member of a zip: its packed bytes, and what the archive declares of them (checked, never trusted). Also a large
/// member of a compressed tar, packed again to be held.
#[derive(Debug)]
pub(super) struct ZipMember {
    pub(super) data: Blob,
    pub(super) packing: Packing,
    pub(super) declared_bytes: u64,
    pub(super) crc: u32,
    /// Whether a stored member is what its header says; found out when it is first opened.
    pub(super) sound: OnceLock<bool>,
}

/// The stored bytes of a document.
#[derive(Debug)]
pub(super) enum Stored {
    Bytes(Blob),
    Zipped(ZipMember),
    /// A member of a compressed tar that is too large to hold and stands near the front: it is inflated again, up to it, at each opening.
    Within {
        outer: Arc<Layers>,
        /// Offset in the content of `outer`.
        at: u64,
        len: u64,
        /// Its first bytes, kept from the walk.
        head: Vec<u8>,
    },
}

/// Stored bytes and the compressions to take off, outermost first.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) stored: Stored,
    pub(super) codecs: Vec<Codec>,
}

impl Layers {
    pub(super) fn plain(stored: Stored) -> Self {
        Self { stored, codecs: Vec::new() }
    }

    /// The content as memory, when it is there without inflating.
    pub(super) fn blob(&self) -> Option<Blob> {
        match &self.stored {
            Stored::Bytes(blob) if self.codecs.is_empty() => Some(blob.clone()),
            Stored::Zipped(member) if self.codecs.is_empty() && member.is_slice() => Some(member.data.clone()),
            _ => None,
        }
    }

    /// The pages of the content, where it is a part of a mapped file.
    pub(super) fn pages(&self) -> Pages<'_> {
        match &self.stored {
            Stored::Bytes(blob) if self.codecs.is_empty() => blob.pages(),
            Stored::Zipped(member) if self.codecs.is_empty() && member.is_slice() => member.data.pages(),
            _ => Pages::default(),
        }
    }

    /// The stored bytes, all compressions on. At most `max_bytes` when they have to be inflated from an archive.
    pub(super) fn raw(&self, max_bytes: u64) -> io::Result<Content<'_>> {
        match &self.stored {
            Stored::Bytes(blob) => Ok(Content::Slice(blob.bytes())),
            Stored::Zipped(member) if member.is_slice() => Ok(Content::Slice(member.data.bytes())),
            Stored::Zipped(member) => Ok(Content::Stream(Box::new(Limited::new(ZipStream::new(member), max_bytes)))),
            Stored::Within { outer, at, len, .. } => {
                // No limit: the walk has already been through exactly these bytes, within the limits.
                let mut stream = match outer.open(u64::MAX)? {
                    Content::Slice(bytes) => Box::new(bytes) as Box<dyn Read + Send + '_>,
                    Content::Stream(stream) => stream,
                };
                skip(&mut stream, *at)?;
                Ok(Content::Stream(Box::new(Window { inner: stream, left: *len })))
            }
        }
    }

    /// The content, all compressions off, each layer limited to `max_bytes`.
    pub(super) fn open(&self, max_bytes: u64) -> io::Result<Content<'_>> {
        let mut content = self.raw(max_bytes)?;
        for codec in &self.codecs {
            content = decode(content, *codec, max_bytes);
        }
        Ok(content)
    }

    /// Up to `want` first bytes of the content. An error is not said here: whoever opens the content meets it.
    pub(super) fn head(&self, want: usize) -> Vec<u8> {
        let content = match &self.stored {
            // Opening would inflate the archive up to the member; the kept head is enough of it.
            Stored::Within { head, .. } => {
                Ok(self.codecs.iter().fold(Content::Slice(head), |c, codec| decode(c, *codec, u64::MAX)))
            }
            _ => self.open(u64::MAX),
        };
        match content {
            Ok(Content::Slice(bytes)) => bytes[..bytes.len().min(want)].to_vec(),
            Ok(Content::Stream(mut stream)) => {
                let mut head = vec![0; want];
                let (n, _) = read_up_to(&mut stream, &mut head);
                head.truncate(n);
                head.shrink_to_fit();
                head
            }
            Err(_) => Vec::new(),
        }
    }
}

impl ZipMember {
    /// Whether the packed bytes are the content, as declared. Reads all of them once.
    fn is_slice(&self) -> bool {
        self.packing == Packing::Stored
            && *self.sound.get_or_init(|| {
                let mut crc = Crc::new();
                crc.update(self.data.bytes());
                self.data.len() == self.declared_bytes && crc.sum() == self.crc
            })
    }
}

fn skip(stream: &mut (impl Read + ?Sized), bytes: u64) -> io::Result<()> {
    let mut scratch = vec![0; BUFFER_BYTES];
    let mut left = bytes;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(scratch.len());
        match stream.read(&mut scratch[..room]) {
            Ok(0) => return Err(StreamError::Changed.into()),
            Ok(n) => left -= n as u64,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// `Read::take` that calls an early end an error: the member was whole when the archive was walked.
struct Window<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Window<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        if room == 0 {
            return Ok(0);
        }
        match self.inner.read(&mut buf[..room])? {
            0 => Err(StreamError::Changed.into()),
            n => {
                self.left -= n as u64;
                Ok(n)
            }
        }
    }
}

/// The content of a zip member, with what was declared checked at its end, after all bytes were given.
struct ZipStream<'a> {
    member: &'a ZipMember,
    src: Cursor<&'a [u8]>,
    inflater: Inflater,
    stored_crc: Crc,
    out: u64,
    end: Option<Result<(), StreamError>>,
}

impl<'a> ZipStream<'a> {
    fn new(member: &'a ZipMember) -> Self {
        Self {
            member,
            src: Cursor::new(member.data.bytes()),
            inflater: Inflater::new(),
            stored_crc: Crc::new(),
            out: 0,
            end: None,
        }
    }

    fn verdict(&self, crc: u32) -> Result<(), StreamError> {
        if self.out != self.member.declared_bytes {
            Err(StreamError::DeclaredSize { declared_bytes: self.member.declared_bytes, found_bytes: self.out })
        } else if crc != self.member.crc {
            Err(StreamError::Checksum { codec: "zip", stored_at: self.src.position(), inflated_at: self.out })
        } else {
            Ok(())
        }
    }
}

impl Read for ZipStream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if let Some(end) = &self.end {
            return end.clone().map(|()| 0).map_err(io::Error::from);
        }
        let (produced, end) = match self.member.packing {
            Packing::Stored => {
                let n = self.src.read(buf)?;
                self.stored_crc.update(&buf[..n]);
                self.out += n as u64;
                (n, (n == 0).then(|| self.verdict(self.stored_crc.sum())))
            }
            Packing::Deflated => {
                let step = self.inflater.step(&mut self.src, buf)?;
                self.out += step.produced as u64;
                let (stored_at, inflated_at) = (self.src.position(), self.out);
                let end = match step.state {
                    StepState::More => None,
                    StepState::Ended => Some(self.verdict(self.inflater.crc())),
                    StepState::Starved => Some(Err(StreamError::Truncated { codec: "zip", stored_at, inflated_at })),
                    StepState::Corrupt => Some(Err(StreamError::Corrupt {
                        codec: "zip",
                        what: "invalid compressed data",
                        stored_at,
                        inflated_at,
                    })),
                };
                (step.produced, end)
            }
        };
        self.end = end;
        match &self.end {
            Some(end) if produced == 0 => end.clone().map(|()| 0).map_err(io::Error::from),
            _ => Ok(produced),
        }
    }
}
