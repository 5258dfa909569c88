//! Paths, directories, stdin and archives become named streams of bytes. Knows files and compression, not Envoy.
//!
//! [`collect`] walks what the user named and returns one [`Document`] per file or archive member, and what went wrong
//! on the way. What a file is, is told by its first bytes, never by its name. Nothing is ever written to disk, and
//! names inside archives are labels only.
//!
//! Input is hostile until shown otherwise (bundles come attached to bug reports): no declared size is trusted, what is
//! inflated, held and counted has [`Limits`], and a broken archive gives what was whole before the break.
//!
//! | file | idea |
//! | --- | --- |
//! | `walk` | paths, directories, stdin, mapping |
//! | `compress` | which form a head of bytes has; gzip and zstd streams |
//! | `stored` | where bytes are, and the layers up to the content |
//! | `archive` | tar and zip into members |

mod archive;
mod compress;
pub mod pack;
mod pages;
mod stored;
mod walk;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::model::problem::{Loss, Problem};

use compress::BUFFER_BYTES;
pub use compress::read_more;
pub use pages::Pages;
use stored::{Layers, Stored};
pub use walk::{collect, find_upward, is_file};

/// Largest [`Document::head`], in bytes.
pub const HEAD_BYTES: usize = 64 * 1024;

/// What hostile or huge input may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Inflated bytes per document, and per archive with all that is nested in it; the flag `--max-bytes`.
    pub max_inflated_bytes: u64,
    /// Members per archive, with all that is nested in it.
    pub max_entries: usize,
    /// Archives inside an archive, and compressions on top of each other.
    pub max_nesting: u32,
    /// Members of compressed tars up to this many bytes are kept in memory as they are; larger ones are kept packed, or
    /// inflated again when opened.
    pub inline_entry_bytes: u64,
    /// Bytes kept in memory over all documents of one [`collect`] (mapped files do not count). It bounds stdin too.
    pub max_held_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_inflated_bytes: 4 << 30,
            max_entries: 20_000,
            max_nesting: 3,
            inline_entry_bytes: 16 << 20,
            max_held_bytes: 2 << 30,
        }
    }
}

/// What [`collect`] found.
#[derive(Debug, Default)]
pub struct Inputs {
    /// In the order given; inside a directory or an archive by name, bytewise.
    pub documents: Vec<Document>,
    /// What could not be read, was refused or was left out. Only what opening a document meets later is not here.
    pub problems: Vec<Problem>,
}

/// One file, stdin, or one member of an archive: its name, and its content as often as it is wanted.
///
/// Shared freely between threads.
#[derive(Debug)]
pub struct Document {
    label: String,
    folder_len: usize,
    given: bool,
    stored_bytes: u64,
    max_inflated_bytes: u64,
    layers: Layers,
    sha256: OnceLock<String>,
    head: OnceLock<Vec<u8>>,
}

/// The uncompressed content of a [`Document`].
pub enum Content<'a> {
    /// All of it, in memory or mapped.
    ///
    /// A mapped file that somebody truncates meanwhile ends the process with SIGBUS; see `walk`.
    Slice(&'a [u8]),
    /// To be inflated while it is read. Best read in pieces of 256 KiB and more. An error comes after all bytes that
    /// were whole, stays, and holds a [`StreamError`]; [`Document::problem`] puts it into words.
    Stream(Box<dyn Read + Send + 'a>),
}

impl fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slice(bytes) => write!(f, "Slice({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl<'a> Content<'a> {
    /// The bytes as a stream, wherever they are.
    pub fn reader(self) -> Box<dyn Read + Send + 'a> {
        match self {
            Self::Slice(bytes) => Box::new(bytes),
            Self::Stream(stream) => stream,
        }
    }

    /// All bytes, borrowed where they are in memory, and the error that ended a stream early.
    ///
    /// A stream is read into memory, up to [`Limits::max_inflated_bytes`].
    pub fn read_all(self) -> (Cow<'a, [u8]>, io::Result<()>) {
        match self {
            Self::Slice(bytes) => (Cow::Borrowed(bytes), Ok(())),
            Self::Stream(mut stream) => {
                let mut bytes = Vec::with_capacity(BUFFER_BYTES);
                // On an error, what was read before stays in the vector.
                let end = stream.read_to_end(&mut bytes).map(|_| ());
                (Cow::Owned(bytes), end)
            }
        }
    }
}

/// Why a [`Content::Stream`] ended before its end. Offsets are bytes from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The guard against bombs.
    #[error("inflates to more than the limit of {max_bytes} bytes (--max-bytes)")]
    Limit {
        /// The limit.
        max_bytes: u64,
    },
    /// The compressed bytes end inside a member.
    #[error("{codec} data ends early: at byte {stored_at} of the compressed data, after {inflated_at} inflated bytes")]
    Truncated {
        /// `gzip`, `zstd` or `zip`.
        codec: &'static str,
        /// In the compressed data.
        stored_at: u64,
        /// In the inflated data.
        inflated_at: u64,
    },
    /// All bytes came, but they are not those that were compressed.
    #[error(
        "{codec} checksum is wrong: the content of {inflated_at} inflated bytes differs from what was compressed \
         (byte {stored_at} of the compressed data)"
    )]
    Checksum {
        /// `gzip`, `zstd` or `zip`.
        codec: &'static str,
        /// In the compressed data.
        stored_at: u64,
        /// In the inflated data.
        inflated_at: u64,
    },
    /// The compressed bytes make no sense.
    #[error(
        "{codec} data is corrupt: {what} at byte {stored_at} of the compressed data, after {inflated_at} inflated bytes"
    )]
    Corrupt {
        /// `gzip`, `zstd` or `zip`.
        codec: &'static str,
        /// What was found.
        what: &'static str,
        /// In the compressed data.
        stored_at: u64,
        /// In the inflated data.
        inflated_at: u64,
    },
    /// The content is whole, something else follows.
    #[error("{codec} data is followed by something that is not {codec}, from byte {stored_at}; it was not read")]
    Trailing {
        /// `gzip` or `zstd`.
        codec: &'static str,
        /// In the compressed data.
        stored_at: u64,
    },
    /// A zip header lies, or the member was cut.
    #[error("zip header declares {declared_bytes} bytes but the member holds {found_bytes}")]
    DeclaredSize {
        /// As the header has it.
        declared_bytes: u64,
        /// As inflated.
        found_bytes: u64,
    },
    /// An archive does not hold any more what it held when it was walked.
    #[error("archive is not what it was when it was first read")]
    Changed,
}

impl StreamError {
    /// The stream error inside an [`io::Error`], when there is one.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// How much of the document it costs.
    pub fn loss(&self) -> Loss {
        match self {
            Self::Trailing { .. } => Loss::Nothing,
            _ => Loss::Part,
        }
    }

    /// What the user can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Limit { .. } => "raise --max-bytes if you trust this file",
            Self::Truncated { .. } => "the copy or the recording was cut; take it again",
            Self::Checksum { .. } | Self::Corrupt { .. } => {
                "the file was damaged on the way; copy it again in binary mode"
            }
            Self::Trailing { .. } => "if the rest is wanted, give it as a file of its own",
            Self::DeclaredSize { .. } => "the archive was damaged or made to mislead; take it from its source again",
            Self::Changed => "read a copy that nobody writes to",
        }
    }

    /// Byte of the uncompressed content at which it broke.
    pub fn inflated_at(&self) -> Option<u64> {
        match self {
            Self::Limit { max_bytes } => Some(*max_bytes),
            Self::Truncated { inflated_at, .. }
            | Self::Checksum { inflated_at, .. }
            | Self::Corrupt { inflated_at, .. } => Some(*inflated_at),
            Self::DeclaredSize { found_bytes, .. } => Some(*found_bytes),
            Self::Trailing { .. } | Self::Changed => None,
        }
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::Truncated { .. } | StreamError::Changed => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// A document made here, of bytes that are no file.
pub fn in_memory(label: &str, bytes: Vec<u8>) -> Document {
    let (len, layers) = (bytes.len() as u64, Layers::plain(Stored::Bytes(stored::Blob::held(bytes))));
    Document::new(label.to_owned(), 0, false, len, layers, &Limits::default())
}

impl Document {
    /// `container_len` is the length of the part of `label` that names the archive or nothing: the folder is searched
    /// only after it, so that a `!` in a file name does not make a folder.
    fn new(
        label: String,
        container_len: usize,
        given: bool,
        stored_bytes: u64,
        layers: Layers,
        limits: &Limits,
    ) -> Self {
        let inside = label.get(container_len..).unwrap_or("");
        let folder_len = inside.rfind('/').map_or(container_len, |slash| container_len + slash);
        Self {
            label,
            folder_len,
            given,
            stored_bytes,
            max_inflated_bytes: limits.max_inflated_bytes,
            layers,
            sha256: OnceLock::new(),
            head: OnceLock::new(),
        }
    }

    /// The name as the user gave it; members of archives after `!`: `bug.tar.gz!bug-report/proxies/ns/pod/memory`.
    ///
    /// It is for people only. It may hold control characters (escape when printing), `..` and absolute names (never
    /// use it as a path), and two documents may have the same.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The label without its last component: what lies in one folder, or at the top of one archive, belongs together.
    /// Empty for a file in the current directory.
    pub fn folder(&self) -> &str {
        &self.label[..self.folder_len]
    }

    /// Whether it was named on the command line, rather than found in a directory or an archive.
    pub fn given(&self) -> bool {
        self.given
    }

    /// Size as stored, in bytes: of the compressed file for `x.json.gz`, of the member for archives (for a zip, the
    /// size that the header declares).
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// SHA-256 of the stored bytes (see [`Document::stored_bytes`]) in lower-case hex, computed once.
    ///
    /// When they break off, the hash is over what came before; opening the document says why.
    pub fn sha256(&self) -> &str {
        self.sha256.get_or_init(|| {
            let mut hash = Sha256::new();
            match self.layers.raw(self.max_inflated_bytes) {
                Ok(Content::Slice(bytes)) => hash.update(bytes),
                Ok(Content::Stream(mut stream)) => {
                    let mut buffer = vec![0; BUFFER_BYTES];
                    loop {
                        let (n, end) = compress::read_up_to(&mut stream, &mut buffer);
                        hash.update(&buffer[..n]);
                        if n < buffer.len() || end.is_err() {
                            break;
                        }
                    }
                }
                Err(_) => {}
            }
            hex(hash)
        })
    }

    /// The first bytes of the uncompressed content, up to [`HEAD_BYTES`]; free for plain files, inflated once
    /// otherwise. Empty for an empty document, or when nothing can be inflated (opening it says why).
    pub fn head(&self) -> &[u8] {
        if self.layers.codecs.is_empty() {
            match &self.layers.stored {
                Stored::Bytes(blob) => return &blob.bytes()[..blob.bytes().len().min(HEAD_BYTES)],
                Stored::Within { head, .. } => return head,
                Stored::Zipped(_) => {}
            }
        }
        self.head.get_or_init(|| self.layers.head(HEAD_BYTES))
    }

    /// Whether the stored bytes are themselves gzip or zstd (a member of a zip or a `.tar.gz` as such is not).
    pub fn is_compressed(&self) -> bool {
        !self.layers.codecs.is_empty()
    }

    /// The uncompressed content, from its start. May be called often, and from several threads.
    ///
    /// A stream fails with [`StreamError`] once it passes [`Limits::max_inflated_bytes`].
    ///
    /// # Errors
    ///
    /// For a large member of a compressed archive, when the archive cannot be inflated again up to it.
    pub fn open(&self) -> io::Result<Content<'_>> {
        self.layers.open(self.max_inflated_bytes)
    }

    /// The pages of the content of [`Document::open`], where that is mapped.
    pub fn pages(&self) -> Pages<'_> {
        self.layers.pages()
    }

    /// Puts an error of this document's stream, or of [`Document::open`], into words.
    pub fn problem(&self, error: &io::Error) -> Problem {
        problem_of(&self.label, error)
    }
}

fn problem_of(label: &str, error: &io::Error) -> Problem {
    match StreamError::of(error) {
        Some(e) => {
            let problem = Problem::new(label, e.loss(), e.to_string()).hint(e.hint());
            match e.inflated_at() {
                Some(at) => problem.at(at),
                None => problem,
            }
        }
        None => Problem::new(label, Loss::Part, format!("cannot be read: {error}")),
    }
}

fn hex(hash: Sha256) -> String {
    use std::fmt::Write;
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
