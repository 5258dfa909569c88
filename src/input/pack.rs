//! Documents written back in the container they came in: a file, a folder, a tar or a zip.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::compress::{Form, SNIFF_BYTES, sniff};
use super::{Content, Document};

/// What an input is, as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// One document.
    File,
    /// A folder.
    Folder,
    /// A tar; compressed or not.
    Tar {
        /// Gzip is to be put around it.
        compressed: bool,
    },
    /// A zip.
    Zip,
}

/// The container that `documents`, found at `path`, came in.
pub fn container(path: &Path, documents: &[Document]) -> Container {
    if path.is_dir() {
        return Container::Folder;
    }
    if documents.iter().all(|d| !d.label().contains('!')) {
        return Container::File;
    }
    let mut head = Vec::new();
    if let Ok(file) = File::open(path) {
        // what cannot be read gives no documents
        let _ = file.take(SNIFF_BYTES as u64).read_to_end(&mut head);
    }
    match sniff(&head) {
        Form::Zip => Container::Zip,
        Form::Tar => Container::Tar { compressed: false },
        Form::Coded(_) | Form::Plain => Container::Tar { compressed: true },
    }
}

/// Whether two paths lead to the same file or folder.
pub fn same_place(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The bytes of a key file.
///
/// # Errors
/// One line that says what is wrong with it.
pub fn key_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("cannot read the key {}: {e}", path.display()))?;
    if bytes.len() < 16 {
        let len = bytes.len();
        return Err(format!("the key {} has {len} bytes; 16 random ones are the least", path.display()));
    }
    Ok(bytes)
}

/// A document's name inside its container: what stands behind the folder or archive that the user named. Archives in
/// archives become folders; nothing leads out.
pub fn member_name(path: &Path, document: &Document) -> String {
    let label = document.label();
    let inside = match label.split_once('!') {
        Some((_, inside)) => inside,
        None => label.strip_prefix(&*path.to_string_lossy()).unwrap_or(label),
    };
    let parts: Vec<&str> = inside.split(['/', '!']).filter(|p| !matches!(*p, "" | "." | "..")).collect();
    parts.join("/")
}

/// Bytes of the content of a document, decompressed.
///
/// # Errors
/// When it cannot be read.
pub fn content_bytes(d: &Document) -> io::Result<u64> {
    match d.open()? {
        Content::Slice(bytes) => Ok(bytes.len() as u64),
        Content::Stream(mut stream) => io::copy(&mut stream, &mut io::sink()),
    }
}

/// An archive being written.
pub enum Archive<W: Write + Seek> {
    /// A tar.
    Tar(Box<tar::Builder<Compressed<W>>>),
    /// A zip.
    Zip(Box<zip::ZipWriter<W>>),
}

/// Gzip around a writer, or nothing.
pub enum Compressed<W: Write> {
    /// Nothing.
    Plain(BufWriter<W>),
    /// Gzip.
    Gzip(Box<GzEncoder<BufWriter<W>>>),
}

impl<W: Write> Compressed<W> {
    /// Around `out`.
    pub fn new(out: W, gzip: bool) -> Self {
        let out = BufWriter::with_capacity(1 << 20, out);
        // no name and no time in the header: same bytes in, same bytes out
        if gzip { Self::Gzip(Box::new(GzEncoder::new(out, Compression::fast()))) } else { Self::Plain(out) }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut out) => out.flush(),
            Self::Gzip(out) => out.finish()?.flush(),
        }
    }
}

impl<W: Write> Write for Compressed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(out) => out.flush(),
        }
    }
}

impl<W: Write + Seek> Archive<W> {
    /// A new one of that kind; a zip unless it is a tar.
    pub fn new(out: W, container: Container) -> Self {
        match container {
            Container::Tar { compressed } => Self::Tar(Box::new(tar::Builder::new(Compressed::new(out, compressed)))),
            _ => Self::Zip(Box::new(zip::ZipWriter::new(out))),
        }
    }

    /// Adds a member of `bytes` bytes, which `write` gives.
    ///
    /// # Errors
    /// When it cannot be written, or `write` gives another number of bytes.
    pub fn add(
        &mut self,
        name: &str,
        bytes: u64,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        match self {
            Self::Tar(tar) => {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes);
                header.set_mode(0o644);
                header.set_entry_type(tar::EntryType::Regular);
                // the long-name entry and the header first; the content is streamed behind it
                tar.append_data(&mut header, name, io::empty())?;
                let mut counted = Counted { out: tar.get_mut(), bytes: 0 };
                write(&mut counted)?;
                let got = counted.bytes;
                if got != bytes {
                    return Err(io::Error::other(format!(
                        "{name} changed while it was read: {bytes} bytes, then {got}"
                    )));
                }
                let padding = (512 - bytes % 512) % 512;
                tar.get_mut().write_all(&[0; 512][..padding as usize])
            }
            Self::Zip(zip) => {
                let options = zip::write::SimpleFileOptions::default()
                    .compression_method(zip::CompressionMethod::Deflated)
                    .last_modified_time(zip::DateTime::default())
                    .large_file(bytes >= u64::from(u32::MAX));
                zip.start_file(name, options)?;
                write(zip)
            }
        }
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Tar(tar) => tar.into_inner()?.finish(),
            Self::Zip(zip) => zip.finish()?.flush(),
        }
    }
}

struct Counted<'a> {
    out: &'a mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
